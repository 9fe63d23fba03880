//! The signed state in a write transaction: entries, and the Merkle nodes above them.

use super::{
    error::CatalogError,
    snapshot::{INNER_BASE, merkle_children},
    tables,
};
use crate::domain::state::{BUCKETS, BucketHasher, FANOUT, Namespace, NodeHash, bucket_of, inner_hash, inner_of};
use redb::{ReadableTable, Table, WriteTransaction};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

/// Rows of entries. Keeps the nodes in step.
pub struct EntryRows<'t> {
    rows: Table<'t, (&'static str, u16, &'static [u8]), &'static [u8]>,
    nodes: Table<'t, (&'static str, u16), &'static [u8; 32]>,
    /// Buckets whose nodes are to be computed.
    dirty: BTreeMap<Namespace, BTreeSet<u16>>,
}

impl<'t> EntryRows<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, CatalogError> {
        let (rows, nodes) = (transaction.open_table(tables::ENTRIES)?, transaction.open_table(tables::NODES)?);
        Ok(Self { rows, nodes, dirty: BTreeMap::new() })
    }

    /// The body of an entry.
    pub fn get(&self, namespace: &Namespace, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        let place = (namespace.as_str(), bucket_of(key), key);
        Ok(self.rows.get(place)?.map(|body| body.value().to_vec()))
    }

    /// Writes an entry, or drops it with `None`; answers with the body before.
    pub fn put(
        &mut self,
        namespace: &Namespace,
        key: &[u8],
        body: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, CatalogError> {
        let bucket = bucket_of(key);
        let place = (namespace.as_str(), bucket, key);
        let before = match body {
            Some(body) => self.rows.insert(place, body)?,
            None => self.rows.remove(place)?,
        };
        match self.dirty.get_mut(namespace) {
            Some(dirty) => dirty.insert(bucket),
            None => self.dirty.entry(namespace.clone()).or_default().insert(bucket),
        };
        Ok(before.map(|body| body.value().to_vec()))
    }

    /// The Merkle roots as of the changes so far, of every namespace that has entries.
    pub fn roots(&mut self) -> Result<BTreeMap<Namespace, NodeHash>, CatalogError> {
        self.rehash()?;
        let mut roots = BTreeMap::new();
        let mut from = String::new();
        loop {
            let Some(row) = self.nodes.range((from.as_str(), 0)..)?.next() else { break };
            let name = row?.0.value().0.to_owned();
            let namespace = Namespace::new(&name).map_err(|_| CatalogError::Damaged("nodes"))?;
            let root = inner_hash(&merkle_children(&self.nodes, &namespace, INNER_BASE)?);
            if root != [0; 32] {
                roots.insert(namespace, root);
            }
            from = name + "\0";
        }
        Ok(roots)
    }

    pub(super) fn rehash(&mut self) -> Result<(), CatalogError> {
        for (namespace, buckets) in std::mem::take(&mut self.dirty) {
            let mut inner = BTreeSet::new();
            for bucket in buckets {
                let hash = self.bucket_hash(&namespace, bucket)?;
                self.set_node(&namespace, bucket, hash)?;
                inner.insert(inner_of(bucket));
            }
            for node in inner {
                let children = merkle_children(&self.nodes, &namespace, u16::from(node) * FANOUT as u16)?;
                self.set_node(&namespace, INNER_BASE + u16::from(node), inner_hash(&children))?;
            }
        }
        Ok(())
    }

    fn bucket_hash(&self, namespace: &Namespace, bucket: u16) -> Result<NodeHash, CatalogError> {
        let mut hasher = BucketHasher::default();
        for row in self.rows.range(bucket_range(namespace, bucket))? {
            let (key, body) = row?;
            let (_, at, key) = key.value();
            if at != bucket {
                break;
            }
            hasher.push(key, body.value());
        }
        Ok(hasher.finish())
    }

    fn set_node(&mut self, namespace: &Namespace, node: u16, hash: NodeHash) -> Result<(), CatalogError> {
        if hash == [0; 32] {
            self.nodes.remove((namespace.as_str(), node))?;
        } else {
            self.nodes.insert((namespace.as_str(), node), &hash)?;
        }
        Ok(())
    }
}

pub(super) fn bucket_range(namespace: &Namespace, bucket: u16) -> RangeInclusive<(&str, u16, &[u8])> {
    debug_assert!(bucket < BUCKETS);
    (namespace.as_str(), bucket, &[][..])..=(namespace.as_str(), bucket + 1, &[][..])
}
