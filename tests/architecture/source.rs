//! Reads the crate's sources as far as the rules of the house need it: code without comments and
//! texts, which parts are tests, and the paths that a file names. It is no parser: it relies on
//! code that compiles and that rustfmt has laid out.

use std::{fs, ops::Range, path::Path};

/// One file of Rust.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    /// The code; comments, texts and characters are blanks, so that offsets and lines stay.
    pub(crate) code: String,
    /// Whether it is compiled for tests only.
    pub(crate) is_test: bool,
}

/// A path as the code names it, groups written out: `crate::base::clock::Clock`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Where its last segment is.
    pub(crate) at: usize,
    /// Its segments; the first is the one that was searched for, or `crate`.
    pub(crate) segments: Vec<String>,
}

/// Every `.rs` file beneath `folder`, in order of their paths.
pub(crate) fn read_all(root: &Path, folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    walk(root, folder, &mut sources);
    let tests: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let below =
            |module: &String| source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/"));
        source.is_test = source.code.contains("#![cfg(test)]") || tests.iter().any(below);
    }
    sources
}

fn walk(root: &Path, folder: &str, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            walk(root, &path, sources);
        } else if name.ends_with(".rs") {
            let code = blank_texts(&fs::read_to_string(root.join(&path)).unwrap());
            sources.push(Source { path, code, is_test: false });
        }
    }
}

impl Source {
    /// The room it is in; `None` for files directly in `src/`.
    pub(crate) fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
    }

    /// `path:line` of an offset, as editors read it.
    pub(crate) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, self.code[..at].matches('\n').count() + 1)
    }

    /// The code with everything blanked that is compiled for tests only.
    pub(crate) fn code_without_tests(&self) -> String {
        let mut code = self.code.clone().into_bytes();
        if self.is_test {
            blank(&mut code);
        }
        test_items(&self.code).into_iter().for_each(|range| blank(&mut code[range]));
        String::from_utf8(code).unwrap()
    }

    /// What the code names in this crate, by `crate::` or by enough of `super::`.
    pub(crate) fn named_in_crate(&self) -> Vec<Named> {
        let mut named = named(&self.code, "crate");
        for at in words(&self.code, "super") {
            let chain = self.code[at..].split("::").take_while(|segment| *segment == "super").count();
            let continues = self.code[..at].ends_with("super::");
            if !continues && chain > 0 && chain >= self.depth(at) {
                expand(&self.code, at + chain * "super::".len(), vec!["crate".into()], &mut named);
            }
        }
        named
    }

    /// How many modules lie around an offset: 2 in `src/room/file.rs`, one more in its `mod tests`.
    fn depth(&self, at: usize) -> usize {
        let file = module_path(&self.path).split('/').skip(1).count();
        let inline = words(&self.code, "mod").into_iter().filter(|module| {
            let open = self.code[*module..].find(['{', ';']).map(|n| module + n);
            open.is_some_and(|open| (open..end_of_block(&self.code, open)).contains(&at))
        });
        file + inline.count()
    }
}

/// The paths in `code` that begin with `root::`.
pub(crate) fn named(code: &str, root: &str) -> Vec<Named> {
    let mut named = Vec::new();
    for at in words(code, root) {
        if code[at + root.len()..].starts_with("::") {
            expand(code, at + root.len() + 2, vec![root.to_owned()], &mut named);
        }
    }
    named
}

/// Where `word` stands for itself, not as a part of a longer one.
pub(crate) fn words(code: &str, word: &str) -> Vec<usize> {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let stands_alone = |at: &usize| {
        let (before, after) = (&code[..*at], &code[at + word.len()..]);
        !is_part(before.chars().next_back()) && !is_part(after.chars().next())
    };
    code.match_indices(word).map(|(at, _)| at).filter(stands_alone).collect()
}

/// Every `fn` that carries a test attribute.
pub(crate) fn test_functions(code: &str) -> Vec<&str> {
    let is_test = |at: &usize| {
        let head = &code[..*at];
        let head = &head[head.rfind(['{', '}', ';']).map_or(0, |end| end + 1)..];
        ["test]", "test("].iter().any(|mark| head.contains(mark))
    };
    words(code, "fn").into_iter().filter(is_test).map(|at| ident(code[at + 2..].trim_start())).collect()
}

/// Writes out a path from `at`, groups included; returns where it ends.
fn expand(code: &str, at: usize, prefix: Vec<String>, named: &mut Vec<Named>) -> usize {
    let at = skip_blanks(code, at);
    if code[at..].starts_with('{') {
        return expand_group(code, at + 1, &prefix, named);
    }
    let segment = if code[at..].starts_with('*') { "*" } else { ident(&code[at..]) };
    let end = at + segment.len();
    let segments = [prefix, vec![segment.to_owned()]].concat();
    let goes_on = code[end..].strip_prefix("::").is_some_and(|rest| !rest.starts_with('<'));
    if goes_on {
        return expand(code, end + 2, segments, named);
    }
    named.push(Named { at, segments });
    end
}

fn expand_group(code: &str, mut at: usize, prefix: &[String], named: &mut Vec<Named>) -> usize {
    loop {
        at = skip_blanks(code, at);
        if code[at..].starts_with('}') {
            return at + 1;
        }
        at = expand(code, at, prefix.to_vec(), named);
        // An alias follows, or the next of the group.
        let Some(next) = code[at..].find([',', '}']) else { return code.len() };
        at += next + usize::from(code[at + next..].starts_with(','));
    }
}

fn ident(code: &str) -> &str {
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    &code[..end]
}

fn skip_blanks(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

/// The parts of a file that only tests compile, from their `#[cfg(test)]` on.
fn test_items(code: &str) -> Vec<Range<usize>> {
    code.match_indices("#[cfg(test)]").map(|(at, mark)| at..end_of_item(code, at + mark.len())).collect()
}

/// The modules in files of their own that only tests compile, as paths without `.rs`.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match module_path(&source.path) {
        path if path.is_empty() => "src".to_owned(),
        path => path,
    };
    let items = test_items(&source.code).into_iter().map(|range| source.code[range].to_owned());
    let outlined = items.filter_map(|item| {
        let (_, module) = item.strip_suffix(';')?.rsplit_once("mod ")?;
        Some(format!("{folder}/{module}"))
    });
    outlined.collect()
}

/// `src/room/file` for `src/room/file.rs`, `src/room` for `src/room/mod.rs`, `src` for the roots.
fn module_path(path: &str) -> String {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let root = ["/mod", "/lib", "/main"].iter().find_map(|end| path.strip_suffix(end));
    root.unwrap_or(path).to_owned()
}

/// The end of the item at `at`, attributes included.
fn end_of_item(code: &str, at: usize) -> usize {
    let at = skip_blanks(code, at);
    if code[at..].starts_with("#[") {
        return end_of_item(code, end_of_block(code, at + 1));
    }
    let mut open = at;
    loop {
        let Some(next) = code[open..].find(['(', '[', '{', ';']) else { return code.len() };
        open += next;
        match code.as_bytes()[open] {
            b';' => return open + 1,
            b'{' => return end_of_block(code, open),
            _ => open = end_of_block(code, open),
        }
    }
}

/// Behind the bracket that closes the one at `open`; `open` itself where none opens there.
fn end_of_block(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (n, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return n + 1;
        }
    }
    code.len()
}

/// Blanks comments, texts and characters.
fn blank_texts(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    let mut at = 0;
    while at < code.len() {
        let end = end_of_text(text, at);
        blank(&mut code[at..end]);
        at = end.max(at + 1);
    }
    String::from_utf8(code).unwrap()
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

/// The end of the comment, text or character that begins at `at`; `at` where none begins.
fn end_of_text(text: &str, at: usize) -> usize {
    if !text.is_char_boundary(at) {
        return at;
    }
    let rest = &text[at..];
    let until = |end: Option<usize>| end.map_or(text.len(), |end| at + end);
    match rest.as_bytes()[0] {
        b'/' if rest.starts_with("//") => until(rest.find('\n')),
        b'/' if rest.starts_with("/*") => until(end_of_comment(rest)),
        b'"' => until(end_of_quoted(rest, '"')),
        b'\'' if is_character(rest) => until(end_of_quoted(rest, '\'')),
        b'r' if !follows_ident(text, at) => end_of_raw(rest).map_or(at, |end| at + end),
        _ => at,
    }
}

fn end_of_comment(rest: &str) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    loop {
        at += rest[at..].find(['/', '*'])?;
        match rest.as_bytes().get(at..at + 2)? {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return Some(at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
}

fn end_of_quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (n, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(n + 1),
            _ => {}
        }
    }
    None
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_character(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// `r"..."` and `r#"..."#`, not `r#ident`.
fn end_of_raw(rest: &str) -> Option<usize> {
    let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
    let body = rest[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(rest.len() - body.len() + body.find(&close)? + close.len())
}

/// Whether the letter at `at` is the end of a word; `b` and `c` before a raw text are none.
fn follows_ident(text: &str, at: usize) -> bool {
    let word = text[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
    !matches!(word, "" | "b" | "c")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, code: &str) -> Source {
        Source { path: path.to_owned(), code: blank_texts(code), is_test: false }
    }

    fn paths(named: Vec<Named>) -> Vec<String> {
        named.into_iter().map(|named| named.segments.join("::")).collect()
    }

    #[test]
    fn comments_texts_and_characters_are_blank_and_lines_stay() {
        let code = "a // b\n/* c /* d */ e */ f \"g \\\" h\" i 'j' 'k r#\"l \" m\"# n br\"o\" '\\'' r#p '{' 'é' q";
        let words: Vec<_> = blank_texts(code).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["a", "f", "i", "'k", "n", "b", "r#p", "q"]);
        assert_eq!(blank_texts(code).len(), code.len());
    }

    #[test]
    fn groups_are_written_out() {
        let code = "use crate::{base::{clock::{Clock, self}, units}, domain::name::FileName as Name,\n sync::*};";
        let named = paths(named(code, "crate"));
        let leaves = ["base::clock::Clock", "base::clock::self", "base::units", "domain::name::FileName", "sync::*"];
        assert_eq!(named, leaves.map(|leaf| format!("crate::{leaf}")));
        assert_eq!(paths(super::named("let x = crate::a::b::<C>(crate::d);", "crate")), ["crate::a::b", "crate::d"]);
    }

    #[test]
    fn a_path_through_the_parents_is_seen_where_it_leaves_the_room() {
        let code = "use super::near;\nuse super::super::far::Away;\nmod tests {\n use super::super::near;\n use super::super::super::off;\n}";
        let named = source("src/room/file.rs", code).named_in_crate();
        assert_eq!(paths(named), ["crate::far::Away", "crate::off"]);
        assert_eq!(paths(source("src/room/mod.rs", "use super::other::x;").named_in_crate()), ["crate::other::x"]);
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        let code = "fn a() {}\n#[cfg(test)]\n#[expect(x, reason = \"y\")]\npub(crate) fn b(c: [u8; 3]) { d() }\n\
                    #[cfg(test)]\nuse e::f;\nfn g() {}\n#[cfg(test)]\nmod tests { fn h() {} }\n";
        let left = source("src/room/file.rs", code).code_without_tests();
        let words: Vec<_> = left.split_whitespace().collect();
        assert_eq!(words, ["fn", "a()", "{}", "fn", "g()", "{}"]);
    }

    #[test]
    fn modules_of_tests_in_files_of_their_own_are_found() {
        let modules = |path, code| test_modules(&source(path, code));
        assert_eq!(modules("src/room/mod.rs", "#[cfg(test)]\npub(crate) mod fake;"), ["src/room/fake"]);
        assert_eq!(modules("src/room/file.rs", "#[cfg(test)]\nmod tests;\nmod real;"), ["src/room/file/tests"]);
        assert_eq!(modules("src/lib.rs", "#[cfg(test)]\nmod tests;"), ["src/tests"]);
    }

    #[test]
    fn only_functions_with_a_test_attribute_are_tests() {
        let code =
            "fn a() {}\n#[test]\nfn b() {}\n#[tokio::test(start_paused = true)]\nasync fn c() {}\n#[inline]\nfn d() {}";
        assert_eq!(test_functions(code), ["b", "c"]);
    }

    #[test]
    fn a_place_is_a_path_and_a_line() {
        assert_eq!(source("src/a/b.rs", "x\n\ny").place(3), "src/a/b.rs:3");
    }
}
