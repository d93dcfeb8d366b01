#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| dynhost_fuzz::transfer(octets));
