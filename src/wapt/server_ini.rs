//! `waptserver.ini`, the configuration of WAPT's server: what is of use here of its section `[options]`.

use super::ini::Ini;

const OPTIONS: &str = "options";

/// What is of use here of a WAPT server's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerIni {
    /// The way to Microsoft, as it was written; it may hold a login.
    pub http_proxy: Option<String>,
    /// Where Windows updates lie; WAPT's own place where it is not set.
    pub waptwua_folder: Option<String>,
    /// Where packages lie; WAPT's own place where it is not set.
    pub wapt_folder: Option<String>,
    /// Whether files that no host has installed are deleted every night; `True` where it is not set.
    pub cleanup_kbs: Option<bool>,
    /// Whether the server writes `sync.json` for secondaries.
    pub remote_repo_support: Option<bool>,
    /// Whether hosts have to show a certificate.
    pub use_ssl_client_auth: Option<bool>,
}

impl ServerIni {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Self {
        let ini = Ini::parse(text);
        let value = |key| ini.value(OPTIONS, key).map(str::to_owned);
        let flag = |key| ini.flag(OPTIONS, key);
        Self {
            http_proxy: value("http_proxy"),
            waptwua_folder: value("waptwua_folder"),
            wapt_folder: value("wapt_folder"),
            cleanup_kbs: flag("cleanup_kbs"),
            remote_repo_support: flag("remote_repo_support"),
            use_ssl_client_auth: flag("use_ssl_client_auth"),
        }
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

    #[test]
    fn folders_and_switches_of_the_options_are_read() {
        let text = "[options]\nwaptwua_folder = /srv/waptwua\ncleanup_kbs = False\nremote_repo_support=True\n";
        let ini = ServerIni::parse(text);
        assert_eq!((ini.waptwua_folder.as_deref(), ini.wapt_folder), (Some("/srv/waptwua"), None));
        assert_eq!(
            (ini.cleanup_kbs, ini.remote_repo_support, ini.use_ssl_client_auth),
            (Some(false), Some(true), None)
        );
    }
}
