//! Temporary.
use serde::{Deserialize, Serialize};
macro_rules! key {
    ($n:ident) => {
        /// key
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $n(pub [u8; 32]);
        impl std::fmt::Display for $n {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.0).to_lowercase())
            }
        }
    };
}
key!(LineKey);
key!(NodeKey);
