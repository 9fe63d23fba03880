//! What is known of a host that looks for a repository.

use std::net::IpAddr;

/// Most addresses of one host that are looked at.
pub const MAX_HOST_ADDRESSES: usize = 16;
/// Most bytes in one of the texts.
const MAX_TEXT_BYTES: usize = 255;

/// A host that says too much of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a host tells at most 16 addresses, and names of 1 to 255 bytes without control characters")]
pub struct HostError;

/// What a host tells of itself, and where it was seen. Nothing of it is proven: it chooses where to pull from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its own addresses; where it tells none, [`Self::seen_as`] counts as its own.
    pub addresses: Vec<IpAddr>,
    /// Where its question came from.
    pub seen_as: IpAddr,
    /// Its name, with or without domain.
    pub name: Option<String>,
    /// Its DNS domain.
    pub domain: Option<String>,
    /// Its Active Directory site.
    pub site: Option<String>,
}

impl Host {
    /// A host of which nothing is known but where it was seen.
    pub fn seen_as(address: IpAddr) -> Self {
        Self { addresses: Vec::new(), seen_as: address.to_canonical(), name: None, domain: None, site: None }
    }

    /// Checks what it tells.
    pub fn checked(self) -> Result<Self, HostError> {
        let is_plain =
            |text: &String| (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        let texts = [&self.name, &self.domain, &self.site];
        let fits = self.addresses.len() <= MAX_HOST_ADDRESSES && texts.into_iter().flatten().all(is_plain);
        fits.then_some(self).ok_or(HostError)
    }

    /// The addresses that count as its own.
    pub fn own_addresses(&self) -> &[IpAddr] {
        if self.addresses.is_empty() { std::slice::from_ref(&self.seen_as) } else { &self.addresses }
    }
}
