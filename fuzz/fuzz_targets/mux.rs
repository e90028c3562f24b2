#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| easyremote::fuzz::mux(data));
