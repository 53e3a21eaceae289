//! A discovery resource: it is refused, or it means something that we can write and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let url = xds::type_url_of(ir::Kind::ALL[usize::from(kind) % ir::Kind::ALL.len()]);
    if let Ok((read, _)) = xds::decode(&url, bytes) {
        let (again, _) = xds::decode(&url, &xds::encode(&read)).expect("what we write is readable");
        assert_eq!(format!("{again:?}"), format!("{read:?}"));
    }
});
