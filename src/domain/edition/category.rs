//! What updates are sorted by: companies, products and classifications. A category is itself an update,
//! whose title is the category's name.

use crate::domain::guid::Guid;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// One category of an update.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Category {
    /// What sort of category.
    pub kind: CategoryKind,
    /// The UpdateID of the category.
    pub id: Guid,
    /// Its title, in the first of the wanted languages that it has one in.
    pub name: Option<Arc<str>>,
}

impl Category {
    /// The classification, if it is one of those that everybody knows.
    pub fn classification(&self) -> Option<Classification> {
        (self.kind == CategoryKind::Classification).then(|| Classification::of(self.id)).flatten()
    }
}

/// `Category/@Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CategoryKind {
    /// Who made the product.
    Company,
    /// A family of products.
    ProductFamily,
    /// A product.
    Product,
    /// What kind of update it is.
    Classification,
}

impl CategoryKind {
    /// What `@Type` says; `None` for anything else.
    pub fn of_type(text: &str) -> Option<Self> {
        match text {
            "Company" => Some(Self::Company),
            "ProductFamily" => Some(Self::ProductFamily),
            "Product" => Some(Self::Product),
            "UpdateClassification" => Some(Self::Classification),
            _ => None,
        }
    }
}

macro_rules! classifications {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)*) => {
        /// The classifications that the offline index has updates of; their GUIDs are the same for everybody
        /// (learn.microsoft.com, "Classification GUIDs").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Classification {
            $($(#[$doc])* $name,)*
        }

        impl Classification {
            /// All.
            pub const ALL: [Self; [$($id as u128),*].len()] = [$(Self::$name),*];

            /// The UpdateID of the category.
            pub const fn id(self) -> Guid {
                match self {
                    $(Self::$name => Guid(($id as u128).to_be_bytes()),)*
                }
            }

            /// As WAPT and Microsoft write it, in one word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

classifications! {
    /// Critical updates.
    CriticalUpdates = 0xe6cf1350_c01b_414d_a61f_263d14d133b4,
    /// Definition updates.
    DefinitionUpdates = 0xe0789628_ce08_4437_be74_2495b842f43b,
    /// Feature packs.
    FeaturePacks = 0xb54e7d24_7add_428f_8b75_90a396fa584f,
    /// Security updates.
    SecurityUpdates = 0x0fa1201d_4330_4fa8_8ae9_b877473b6441,
    /// Service packs.
    ServicePacks = 0x68c5b0a3_d1a6_4553_ae49_01d3a7827828,
    /// Update rollups.
    UpdateRollups = 0x28bc880e_0592_4cbf_8f95_c79b17911d5f,
    /// Updates that are nothing else.
    Updates = 0xcd5ffd1e_e932_4e3a_bf74_18bf0b1bbd83,
}

impl Classification {
    /// Which one has this id.
    pub fn of(id: Guid) -> Option<Self> {
        Self::ALL.into_iter().find(|classification| classification.id() == id)
    }
}

impl fmt::Display for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_classification_has_its_guid_and_only_as_a_classification() {
        let id: Guid = "0fa1201d-4330-4fa8-8ae9-b877473b6441".parse().unwrap();
        assert_eq!(Classification::SecurityUpdates.id(), id);
        assert!(Classification::ALL.into_iter().all(|of| Classification::of(of.id()) == Some(of)));
        let category = |kind| Category { kind, id, name: None };
        assert_eq!(category(CategoryKind::Classification).classification(), Some(Classification::SecurityUpdates));
        assert_eq!(category(CategoryKind::Product).classification(), None);
        assert_eq!(Classification::of(Guid([1; 16])), None);
        assert_eq!(CategoryKind::of_type("updateclassification"), None);
    }
}
