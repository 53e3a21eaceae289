//! Memory that is not needed any more, given back to the system: what reading a configuration took,
//! and the pages of the program that only starting it touched. A process of which a machine runs
//! dozens is resident with what it uses, not with all that it ever used.

#![allow(unsafe_code)] // The allocator and the kernel are told what is not needed; fenced in here.

use std::fs;
use std::io;
use std::ops::Range;

/// Returns what the calling thread has freed. Call it after work that allocates much and frees it at
/// once; for small changes it is not worth its time.
pub fn give_back() {
    // SAFETY: collecting frees only what nobody refers to; it may be called at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Drops the pages of the program's own file from this process. Those that are used again are mapped
/// again from the page cache, where they still are.
pub fn forget_startup() -> io::Result<()> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    for range in unwritten(&maps, &program.to_string_lossy()) {
        let start = range.start as *mut libc::c_void;
        // SAFETY: the range is one mapping of our own file that is never written, so that its pages
        // read the same when they are mapped again.
        if unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The mappings of the program's file that have only ever been read: its code, and the constants
/// before it. What follows the code was written when the program was loaded.
fn unwritten(maps: &str, program: &str) -> Vec<Range<usize>> {
    let read = |line: &str| {
        let mut fields = line.splitn(6, ' ');
        let (range, rights, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let path = fields.nth(2)?.trim_start();
        let first = usize::from_str_radix(offset, 16).ok()? == 0;
        let is_clean = rights == "r-xp" || (rights == "r--p" && first);
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        (path == program && is_clean).then_some(address(start)?..address(end)?)
    };
    maps.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_dropped() {
        let maps = "\
55d0a0000000-55d0a0100000 r--p 00000000 fe:00 57 /opt/a proxy
55d0a0100000-55d0a0300000 r-xp 00100000 fe:00 57 /opt/a proxy
55d0a0300000-55d0a0380000 r--p 00300000 fe:00 57 /opt/a proxy
55d0a0380000-55d0a0390000 rw-p 00380000 fe:00 57 /opt/a proxy
7f0000000000-7f0000100000 r-xp 00000000 fe:00 58                         /usr/lib/libc.so.6
7f0000200000-7f0000300000 rw-p 00000000 00:00 0
";
        let found = unwritten(maps, "/opt/a proxy");
        assert_eq!(found, [0x55d0_a000_0000..0x55d0_a010_0000, 0x55d0_a010_0000..0x55d0_a030_0000]);
    }

    /// The program goes on, and says the same as before.
    #[test]
    fn what_is_dropped_comes_back_when_it_is_used() {
        let text = std::hint::black_box(include_str!("memory.rs"));
        let before = text.len() + text.matches("fn ").count();
        give_back();
        forget_startup().unwrap();
        assert_eq!(text.len() + text.matches("fn ").count(), before);
    }
}
