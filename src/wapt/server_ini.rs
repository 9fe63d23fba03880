//! `waptserver.ini`, as WAPT's server reads it: a Python configuration file.
//!
//! Lenient, as that reader is: what is not understood is passed over, and of a key that stands twice the last
//! one counts.

/// What is of use here of a WAPT server's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerIni {
    /// The way to Microsoft, as it was written; it may hold a login.
    pub http_proxy: Option<String>,
}

impl ServerIni {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Self {
        let mut ini = Self::default();
        let mut is_options = false;
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                is_options = section.trim() == "options";
                continue;
            }
            let is_comment = line.starts_with(['#', ';']);
            let Some((key, value)) = line.split_once(['=', ':']).filter(|_| is_options && !is_comment) else {
                continue;
            };
            if key.trim().eq_ignore_ascii_case("http_proxy") {
                let value = value.trim();
                let is_set = !value.is_empty() && !value.eq_ignore_ascii_case("none");
                ini.http_proxy = is_set.then(|| value.to_owned());
            }
        }
        ini
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_of_the_options_is_read_as_wapt_reads_it() {
        for (text, proxy) in [
            ("", None),
            ("[options]\nhttp_proxy = http://proxy:3128\n", Some("http://proxy:3128")),
            ("[options]\r\nHTTP_PROXY: http://u:p@proxy:3128\r\n", Some("http://u:p@proxy:3128")),
            ("[options]\n# http_proxy = http://a\n;http_proxy=http://b\nhttp_proxy=\n", None),
            ("[options]\nhttp_proxy = None\n", None),
            ("http_proxy = http://a\n[other]\nhttp_proxy = http://b\n", None),
            ("[options]\nhttp_proxy = http://a\nhttp_proxy = http://b\n[x]\nhttp_proxy = http://c\n", Some("http://b")),
            ("[options\nhttp_proxy\n= x\n[options]\nno_http_proxy = y\n", None),
        ] {
            assert_eq!(ServerIni::parse(text).http_proxy.as_deref(), proxy, "{text:?}");
        }
    }
}
