#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wuasync_fuzz::targets::cabinets::cabinets(data));
