//! Surgery on signatures: DER as a tree, changed and put together again with the lengths that fit.

use super::lab::{signature_at, with_signature};

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) tag: u8,
    /// Of a primitive value.
    pub(crate) bytes: Vec<u8>,
    /// Of a constructed one.
    pub(crate) inner: Vec<Node>,
}

impl Node {
    /// The first value in `der`.
    pub(crate) fn read(der: &[u8]) -> Self {
        Self::first(der).0
    }

    fn first(der: &[u8]) -> (Self, usize) {
        let (len, from) = match der[1] {
            short @ ..0x80 => (usize::from(short), 2),
            long => {
                let from = 2 + usize::from(long & 0x7f);
                (der[2..from].iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), from)
            }
        };
        let (body, mut node) = (&der[from..from + len], Self::of(der[0], Vec::new()));
        if node.tag & 0x20 == 0 {
            node.bytes = body.to_vec();
        }
        let mut at = 0;
        while node.tag & 0x20 != 0 && at < body.len() {
            let (inner, read) = Self::first(&body[at..]);
            node.inner.push(inner);
            at += read;
        }
        (node, from + len)
    }

    /// A value with others inside.
    pub(crate) fn of(tag: u8, inner: Vec<Node>) -> Self {
        Self { tag, bytes: Vec::new(), inner }
    }

    /// OBJECT IDENTIFIER.
    pub(crate) fn oid(body: &[u8]) -> Self {
        Self { tag: 6, bytes: body.to_vec(), inner: Vec::new() }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let body =
            if self.tag & 0x20 == 0 { self.bytes.clone() } else { self.inner.iter().flat_map(Self::write).collect() };
        let len = body.len().to_be_bytes();
        let len = &len[len.iter().take_while(|byte| **byte == 0).count()..];
        let mut der = vec![self.tag];
        match body.len() {
            short @ ..0x80 => der.push(u8::try_from(short).unwrap()),
            _ => {
                der.push(0x80 | u8::try_from(len.len()).unwrap());
                der.extend_from_slice(len);
            }
        }
        [der, body].concat()
    }

    /// What is at `path`, by positions.
    pub(crate) fn at(&mut self, path: &[usize]) -> &mut Self {
        path.iter().fold(self, |node, at| &mut node.inner[*at])
    }

    /// SignedData of a ContentInfo.
    pub(crate) fn signed_data(&mut self) -> &mut Self {
        self.at(&[1, 0])
    }

    /// The SET of signers.
    pub(crate) fn signers(&mut self) -> &mut Self {
        self.signed_data().inner.last_mut().unwrap()
    }

    /// The unsigned attributes of the first signer; made where there are none.
    pub(crate) fn unsigned_attributes(&mut self) -> &mut Self {
        let signer = self.signers().at(&[0]);
        if signer.inner.last().unwrap().tag != 0xa1 {
            signer.inner.push(Self::of(0xa1, Vec::new()));
        }
        signer.inner.last_mut().unwrap()
    }
}

/// The signature of `cabinet`, changed.
pub(crate) fn operated(cabinet: &[u8], operation: impl FnOnce(&mut Node)) -> Vec<u8> {
    let mut signature = Node::read(&cabinet[signature_at(cabinet)..]);
    operation(&mut signature);
    with_signature(cabinet, &signature.write())
}
