//! The two messages of `ForwardEcho` on the wire, and gRPC's five bytes before a message.

/// `ForwardEchoRequest { count = 1, url = 4 }`
pub struct Forward<'a> {
    pub url: &'a str,
    pub count: u32,
}

impl Forward<'_> {
    pub fn framed(&self) -> Vec<u8> {
        let mut message = vec![1 << 3];
        number(u64::from(self.count), &mut message);
        message.push(4 << 3 | 2);
        number(self.url.len() as u64, &mut message);
        message.extend(self.url.as_bytes());
        let length = u32::try_from(message.len()).expect("it is short").to_be_bytes();
        [&[0], length.as_slice(), &message].concat()
    }
}

/// `ForwardEchoResponse { output = 1, repeated }`
pub fn output(body: &[u8]) -> Option<Vec<String>> {
    let length = u32::from_be_bytes(body.get(1..5)?.try_into().ok()?) as usize;
    let mut rest = body.get(5..5 + length)?;
    let mut output = Vec::new();
    while let Some((tag, after)) = rest.split_first() {
        if *tag != 1 << 3 | 2 {
            return None;
        }
        let (length, after) = read(after)?;
        let length = usize::try_from(length).ok()?;
        output.push(String::from_utf8_lossy(after.get(..length)?).into_owned());
        rest = &after[length..];
    }
    Some(output)
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(at).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[test]
fn messages_are_as_protobuf_has_them() {
    let framed = Forward { url: "x", count: 300 }.framed();
    assert_eq!(framed, [0, 0, 0, 0, 6, 8, 0xac, 2, 0x22, 1, b'x']);
    assert_eq!(output(&[0, 0, 0, 0, 6, 10, 1, b'a', 10, 1, b'b']).unwrap(), ["a", "b"]);
    assert_eq!(output(&[0, 0, 0, 0, 9, 10]), None);
}
