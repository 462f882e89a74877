#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_client::fuzzing::list_answer(bytes));
