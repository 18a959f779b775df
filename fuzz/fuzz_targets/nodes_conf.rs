#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skuld_fuzz::cluster::run_nodes_conf(data));
