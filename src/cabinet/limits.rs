//! How much of a cabinet is believed. Memory is bounded by the tables (see [`Limits`]), one LZX window
//! (2 MiB at most) and one block, packed and unpacked; time is linear in what is read and unpacked.

/// What a block unpacks to at most: MS-CAB 2.4, `cbUncomp`.
pub(super) const MAX_BLOCK_BYTES: usize = 32 * 1024;
/// What a block is packed to at most: what LZX may add to 32 KiB, as cabextract has it (`CAB_INPUTMAX`).
pub(super) const MAX_PACKED_BYTES: usize = MAX_BLOCK_BYTES + 6144;

/// Upper limits for one cabinet; more is refused. How deep cabinets lie in cabinets is the caller's to limit.
///
/// The tables take at most `max_folders` times 16 bytes and `max_files` times (64 bytes and a name).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Folders. Default 4,096: a cabinet is cut into folders of megabytes, and 4 GiB is its end.
    pub max_folders: u16,
    /// Members. Default 65,535: what the format can count; shards of `wsusscn2.cab` have some 12,500.
    pub max_files: u16,
    /// Bytes of a name, without its end. Default 255: 256 with it, as Microsoft's own reader and cabextract have it.
    pub max_name_bytes: usize,
    /// What one folder unpacks to, in bytes. Default 2 GiB: 65,535 blocks of 32 KiB are all that a folder can have.
    pub max_folder_bytes: u64,
    /// What all folders together unpack to, in bytes. Default 4 GiB: `wsusscn2.cab` is stored and has
    /// 0.65 GiB; its shards unpack to some 0.3 GiB each.
    pub max_cabinet_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_folders: 4_096,
            max_files: u16::MAX,
            max_name_bytes: 255,
            max_folder_bytes: 2 << 30,
            max_cabinet_bytes: 4 << 30,
        }
    }
}
