//! Where randomness comes from: the operating system.

/// Fills `bytes`. The kernel's generator does not fail once the machine is up; where it is absent
/// altogether nothing here is safe, and the process ends.
pub(super) fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        tracing::error!(%error, "the system gives no random bytes");
        std::process::abort();
    }
}

/// 32 random bytes.
pub fn secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    bytes
}

/// A random number.
pub(super) fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
