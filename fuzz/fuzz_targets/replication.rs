#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skuld_fuzz::replication::run(data));
