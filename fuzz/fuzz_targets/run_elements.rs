#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_client::fuzzing::run_elements(bytes));
