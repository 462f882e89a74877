#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_connector::fuzzing::run_answer(bytes));
