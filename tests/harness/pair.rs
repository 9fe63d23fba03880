//! A main and a secondary of it with a counted path between them.

use super::{Place, TestNode, folder, immutable, join, link::Link, noise, wait};
use wuasync::sync::pull::ParentAddress;

/// A main with so many files of so many bytes, and a secondary of it behind a link.
pub async fn pair(main_place: &Place, lyon_place: &Place, files: u64, bytes: usize) -> (TestNode, TestNode, Link) {
    for seed in 0..files {
        let content = noise(seed, bytes);
        main_place.write(&immutable(&format!("f{seed}"), &content), &content);
    }
    let main = TestNode::main(main_place, "paris");
    let adopted = || main.repository.state().index.read().ok()?.totals(&folder()).ok();
    wait("all is adopted", || adopted().filter(|totals| totals.files == files)).await;
    let parent = join(lyon_place, main.invite("lyon", None)).await;
    let link = Link::to(main.address).await;
    let parent = ParentAddress { addresses: vec![link.address.to_string()], ..parent };
    let lyon = TestNode::secondary(lyon_place, "lyon", None);
    (main, lyon.following(parent), link)
}
