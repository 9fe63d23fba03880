//! Makes cabinets for tests: any folders, members and compression, byte for byte as said; damage is the
//! test's own. [MS-CAB] has the structures.

pub mod lzx;

use flate2::{Compress, Compression as Level, FlushCompress};
use lzx::{CHUNK_BYTES, Lzx};

/// How a folder is packed.
#[derive(Debug, Clone)]
pub enum Packing {
    /// As it is.
    Stored,
    /// Deflate with the last 32 KiB as its history.
    MsZip,
    /// See [`Lzx`].
    Lzx(Lzx),
}

/// One folder and the members in it, one behind the other.
#[derive(Debug, Clone)]
pub struct Folder {
    /// How it is packed.
    pub packing: Packing,
    /// Names as they stand in the cabinet, and contents.
    pub members: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Folder {
    /// From names that are text.
    pub fn new(packing: Packing, members: &[(&str, &[u8])]) -> Self {
        let members = members.iter().map(|(name, bytes)| (name.as_bytes().to_vec(), bytes.to_vec())).collect();
        Self { packing, members }
    }
}

/// A cabinet to be written.
#[derive(Debug, Clone)]
pub struct Cabinet {
    /// In order.
    pub folders: Vec<Folder>,
    /// Of the header.
    pub header_reserve: Vec<u8>,
    /// Of each folder, in bytes.
    pub folder_reserve: u8,
    /// Of each block, in bytes.
    pub block_reserve: u8,
    /// Of every member: DOS date and time.
    pub date_time: (u16, u16),
    /// Of every member.
    pub attribs: u16,
}

impl Cabinet {
    /// Without reserves; dated 2026-07-14 10:00.
    pub fn new(folders: Vec<Folder>) -> Self {
        let date_time = (46 << 9 | 7 << 5 | 14, 10 << 11);
        Self { folders, header_reserve: vec![], folder_reserve: 0, block_reserve: 0, date_time, attribs: 0x20 }
    }

    /// With the reserve that tells of a signature of `bytes`; the signature itself is to be appended.
    pub fn telling_of_signature(mut self, bytes: u32) -> Self {
        self.header_reserve = vec![0; 20];
        let end = self.to_bytes().len() as u32;
        self.header_reserve = [&[0, 0, 0x10, 0][..], &end.to_le_bytes(), &bytes.to_le_bytes(), &[0; 8]].concat();
        self
    }

    /// The cabinet.
    pub fn to_bytes(&self) -> Vec<u8> {
        let reserves = [self.header_reserve.len(), self.folder_reserve.into(), self.block_reserve.into()];
        let has_reserves = reserves.iter().any(|bytes| *bytes > 0);
        let reserve_bytes = if has_reserves { 4 + self.header_reserve.len() } else { 0 };
        let coff_files = 36 + reserve_bytes + self.folders.len() * (8 + usize::from(self.folder_reserve));
        let files = self.files();
        let blocks: Vec<Vec<Vec<u8>>> = self.folders.iter().map(|folder| self.blocks(folder)).collect();
        let mut out = Vec::new();
        let total = coff_files + files.len() + blocks.iter().flatten().map(Vec::len).sum::<usize>();
        out.extend(b"MSCF\0\0\0\0");
        out.extend((total as u32).to_le_bytes());
        out.extend([0; 4]);
        out.extend((coff_files as u32).to_le_bytes());
        out.extend([0, 0, 0, 0, 3, 1]);
        let count: usize = self.folders.iter().map(|folder| folder.members.len()).sum();
        for word in [self.folders.len(), count, usize::from(has_reserves) << 2, 0x1234, 0] {
            out.extend((word as u16).to_le_bytes());
        }
        if has_reserves {
            out.extend((self.header_reserve.len() as u16).to_le_bytes());
            out.extend([self.folder_reserve, self.block_reserve]);
            out.extend(&self.header_reserve);
        }
        let mut start = coff_files + files.len();
        for (folder, blocks) in self.folders.iter().zip(&blocks) {
            out.extend((start as u32).to_le_bytes());
            out.extend((blocks.len() as u16).to_le_bytes());
            out.extend(type_compress(&folder.packing).to_le_bytes());
            out.extend(vec![0xf0; self.folder_reserve.into()]);
            start += blocks.iter().map(Vec::len).sum::<usize>();
        }
        out.extend(files);
        blocks.iter().flatten().for_each(|block| out.extend(block));
        out
    }

    fn files(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, folder) in self.folders.iter().enumerate() {
            let mut offset = 0;
            for (name, bytes) in &folder.members {
                out.extend((bytes.len() as u32).to_le_bytes());
                out.extend((offset as u32).to_le_bytes());
                for word in [index as u16, self.date_time.0, self.date_time.1, self.attribs] {
                    out.extend(word.to_le_bytes());
                }
                out.extend(name);
                out.push(0);
                offset += bytes.len();
            }
        }
        out
    }

    /// CFDATA structures, headers included.
    fn blocks(&self, folder: &Folder) -> Vec<Vec<u8>> {
        let content = folder.members.iter().map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>().concat();
        let sizes = content.chunks(CHUNK_BYTES).map(<[u8]>::len);
        let packed = pack(&folder.packing, &content);
        assert_eq!(packed.len(), sizes.len());
        let reserve = vec![0xd0; self.block_reserve.into()];
        packed.into_iter().zip(sizes).map(|(data, size)| block(&data, size, &reserve)).collect()
    }
}

/// One CFDATA structure with its checksum.
pub fn block(data: &[u8], size: usize, reserve: &[u8]) -> Vec<u8> {
    let sizes = [(data.len() as u16).to_le_bytes(), (size as u16).to_le_bytes()].concat();
    let head = [&sizes, reserve].concat();
    let checksum = checksum(&head) ^ checksum(data);
    [&checksum.to_le_bytes(), &head[..], data].concat()
}

fn checksum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(4);
    let rest = words.remainder().iter().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
    words.fold(rest, |sum, word| sum ^ u32::from_le_bytes(word.try_into().unwrap()))
}

fn type_compress(packing: &Packing) -> u16 {
    match packing {
        Packing::Stored => 0,
        Packing::MsZip => 1,
        Packing::Lzx(lzx) => 3 | lzx.window_bits << 8,
    }
}

fn pack(packing: &Packing, content: &[u8]) -> Vec<Vec<u8>> {
    match packing {
        Packing::Stored => content.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect(),
        Packing::MsZip => ms_zip(content),
        Packing::Lzx(lzx) => lzx.encode(content),
    }
}

fn ms_zip(content: &[u8]) -> Vec<Vec<u8>> {
    let mut history: &[u8] = &[];
    let mut blocks = Vec::new();
    for chunk in content.chunks(CHUNK_BYTES) {
        let mut deflate = Compress::new(Level::new(6), false);
        if !history.is_empty() {
            deflate.set_dictionary(history).unwrap();
        }
        let mut block = Vec::with_capacity(CHUNK_BYTES + 1024);
        block.extend(b"CK");
        deflate.compress_vec(chunk, &mut block, FlushCompress::Finish).unwrap();
        blocks.push(block);
        history = chunk;
    }
    blocks
}
