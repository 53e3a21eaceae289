//! gzip and zlib containers around stored (uncompressed) blocks: valid for every reader, and enough
//! for answers whose only purpose is to be encoded.

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    stored(data, &mut out);
    out.extend(crc32(data).to_le_bytes());
    out.extend(u32::try_from(data.len() % (1 << 32)).unwrap_or_default().to_le_bytes());
    out
}

pub fn zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    stored(data, &mut out);
    out.extend(adler32(data).to_be_bytes());
    out
}

fn stored(data: &[u8], out: &mut Vec<u8>) {
    let mut blocks = data.chunks(0xffff).peekable();
    if blocks.peek().is_none() {
        return out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn adler32(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_ones() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn long_data_is_cut_into_blocks() {
        let packed = zlib(&vec![7; 70_000]);
        assert_eq!(packed[2], 0, "not the last block");
        assert_eq!(packed[2 + 5 + 0xffff], 1, "the last block");
        assert_eq!(packed.len(), 2 + 5 + 5 + 70_000 + 4);
    }
}
