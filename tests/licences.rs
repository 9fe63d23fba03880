//! Every dependency, of every platform and of the tests, may be passed on with the product: its
//! licence is permissive, and it comes from the public registry.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use std::process::Command;

    /// Licences that ask for no more than a notice.
    const PERMISSIVE: [&str; 14] = [
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "ISC",
        "MIT",
        "OpenSSL",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
    ];
    const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

    #[test]
    fn every_dependency_has_a_permissive_licence() {
        let wrong = packages().into_iter().filter(|package| !package["license"].as_str().is_some_and(is_permissive));
        let wrong: Vec<_> = wrong.map(|package| format!("{}: {}", title(&package), package["license"])).collect();
        assert!(wrong.is_empty(), "licences that tests/licences.rs does not allow:\n  {}\n", wrong.join("\n  "));
    }

    #[test]
    fn every_dependency_comes_from_the_public_registry() {
        let wrong = packages().into_iter().filter(|package| !is_ours(package) && package["source"] != REGISTRY);
        let wrong: Vec<_> = wrong.map(|package| format!("{}: {}", title(&package), package["source"])).collect();
        assert!(wrong.is_empty(), "dependencies from elsewhere:\n  {}\n", wrong.join("\n  "));
    }

    /// Every package that the lock file names.
    fn packages() -> Vec<Value> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let arguments = ["metadata", "--format-version", "1", "--offline", "--locked"];
        let output = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n`cargo fetch --locked` fetches what is missing");
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap().clone();
        assert!(packages.iter().any(is_ours) && packages.len() > 1, "{} packages", packages.len());
        packages
    }

    fn is_ours(package: &Value) -> bool {
        package["name"] == env!("CARGO_PKG_NAME") && package["source"].is_null()
    }

    fn title(package: &Value) -> String {
        format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap())
    }

    /// Whether an SPDX expression can be satisfied with permissive licences alone. `/` is how older
    /// packages write OR; what can't be read is not permissive.
    fn is_permissive(expression: &str) -> bool {
        let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let mut words = spaced.split_whitespace().peekable();
        any_of(&mut words).unwrap_or(false) && words.next().is_none()
    }

    type Words<'a, 'b> = &'b mut std::iter::Peekable<std::str::SplitWhitespace<'a>>;

    fn any_of(words: Words<'_, '_>) -> Option<bool> {
        let mut any = all_of(words)?;
        while words.next_if_eq(&"OR").is_some() {
            any |= all_of(words)?;
        }
        Some(any)
    }

    fn all_of(words: Words<'_, '_>) -> Option<bool> {
        let mut all = one(words)?;
        while words.next_if_eq(&"AND").is_some() {
            all &= one(words)?;
        }
        Some(all)
    }

    fn one(words: Words<'_, '_>) -> Option<bool> {
        let licence = words.next()?;
        if licence == "(" {
            let inner = any_of(words)?;
            return (words.next()? == ")").then_some(inner);
        }
        if words.next_if_eq(&"WITH").is_some() {
            return Some(PERMISSIVE.contains(&&*format!("{licence} WITH {}", words.next()?)));
        }
        Some(PERMISSIVE.contains(&licence))
    }

    #[test]
    fn an_expression_is_permissive_if_one_choice_of_it_is() {
        for yes in [
            "MIT",
            "GPL-2.0-only OR MIT",
            "MIT/GPL-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "(MIT OR GPL-3.0) AND (ISC OR GPL-3.0)",
            "GPL-3.0 AND LGPL-3.0 OR MIT AND ISC",
        ] {
            assert!(is_permissive(yes), "{yes}");
        }
        for no in [
            "",
            "GPL-3.0",
            "MPL-2.0",
            "MIT AND GPL-3.0",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT ISC",
            "MIT WITH some-exception",
            "(MIT OR ISC) AND GPL-3.0",
            "MIT AND ISC AND LGPL-3.0 OR GPL-3.0",
        ] {
            assert!(!is_permissive(no), "{no}");
        }
    }
}
