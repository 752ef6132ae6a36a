//! The system's random numbers, which are none here: `getrandom` gives the same bytes to whoever asks. So hash maps have the
//! same order, and tokio makes the same choices, in every process that does the same. This binary alone; never linked into
//! anything that keeps a secret.

#![expect(unsafe_code, reason = "a symbol of libc is replaced, see the module")]

/// Takes the place of libc's.
///
/// # Safety
/// As libc's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for at in 0..length {
        // Not all the same, for callers that would not take that for random.
        let byte = (at as u8).wrapping_mul(151).wrapping_add(17);
        // Safety: the caller says that there is room.
        unsafe { buffer.add(at).write(byte) };
    }
    length.cast_signed()
}

/// Keeps this module in the binary.
pub fn none() {
    std::hint::black_box(getrandom as unsafe extern "C" fn(*mut u8, usize, u32) -> isize);
}
