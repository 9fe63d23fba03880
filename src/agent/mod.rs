//! The hosts' side: a small client that pulls files from the nearest repository.
//!
//! Order of events for one file ([`pull`]): what an earlier run left is taken up ([`partial`]); the repositories
//! that are known are asked which is nearest ([`client`]); [`course`] says who is tried, and when somebody else;
//! bytes go to the end of the partial, whoever they come from; when all are there their SHA-1 is compared with the
//! name's and their BLAKE3 with the ETag's, and the file gets its name. Knows no daemon and no state of a
//! repository: it runs wherever a host is.

pub mod client;
pub mod course;
pub mod partial;
pub mod pull;
