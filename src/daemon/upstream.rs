//! The way to Microsoft, as `[upstream]` says it.

use super::{config, random};
use crate::{
    base::clock::SharedClock,
    upstream::{Limits, Settings, SetupError, Upstream},
    wapt::server_ini::ServerIni,
};
use std::{fs, io, path::Path, sync::Arc};

/// Where a WAPT server has its configuration: its proxy is ours, unless another one is configured.
const SERVER_INI: &str = "/opt/wapt/conf/waptserver.ini";

/// Prepares fetching; none where it is off. Reads the machine's certificates, and blocks for that.
pub fn open_upstream(config: &config::Upstream, clock: SharedClock) -> Result<Option<Upstream>, SetupError> {
    if !config.enabled {
        return Ok(None);
    }
    let mut config = config.clone();
    if config.proxy.is_none() {
        config.proxy = proxy_of_wapt(Path::new(SERVER_INI));
    }
    Upstream::new(settings(&config)?, clock, Arc::new(random::number)).map(Some)
}

/// The configuration of a WAPT server on this machine, as far as there is one.
pub(super) fn server_ini() -> Option<ServerIni> {
    read_server_ini(Path::new(SERVER_INI))
}

fn read_server_ini(path: &Path) -> Option<ServerIni> {
    match fs::read_to_string(path) {
        Ok(text) => Some(ServerIni::parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the WAPT server's configuration can't be read: it is not used");
            None
        }
    }
}

/// The proxy of a WAPT server on this machine. Neither its address nor its login goes into the log.
fn proxy_of_wapt(path: &Path) -> Option<config::WebUrl> {
    let proxy = read_server_ini(path)?.http_proxy?;
    match proxy.parse() {
        Ok(proxy) => {
            tracing::info!(path = %path.display(), "fetching through the proxy of the WAPT server");
            Some(proxy)
        }
        Err(_) => {
            tracing::warn!(path = %path.display(), "its http_proxy is no web address: it is not used; set `upstream.proxy`");
            None
        }
    }
}

/// An address that can't be used is an error: without it, something else would be asked.
fn settings(config: &config::Upstream) -> Result<Settings, SetupError> {
    let parse = |url: &config::WebUrl| url.as_str().parse().ok();
    let (origin, proxy) = (config.origin.as_ref().map(parse), config.proxy.as_ref().map(parse));
    Ok(Settings {
        origin: origin.map(|url| url.ok_or(SetupError::Origin)).transpose()?,
        proxy: proxy.map(|url| url.ok_or(SetupError::Proxy)).transpose()?,
        allowed_hosts: config.allowed_hosts.clone(),
        resolve: config.resolve.clone(),
        limits: Limits::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;

    #[test]
    fn what_is_configured_is_what_is_asked_and_off_is_off() {
        let url = |text: &str| Some(text.parse().unwrap());
        let config = config::Upstream {
            proxy: url("http://user:s3cret@10.0.0.1:3128"),
            origin: url("https://server/waptwua"),
            ..config::Upstream::default()
        };
        let settings = settings(&config).unwrap();
        assert_eq!(settings.proxy.as_ref().unwrap().password(), Some("s3cret"));
        assert_eq!(settings.allowed_hosts, config.allowed_hosts);
        let shown = format!("{settings:?}");
        assert!(shown.contains("server/waptwua") && !shown.contains("s3cret"), "{shown}");
        let clock: SharedClock = Arc::new(SystemClock);
        assert!(open_upstream(&config, clock.clone()).unwrap().is_some());
        let off = config::Upstream { enabled: false, ..config };
        assert!(open_upstream(&off, clock).unwrap().is_none());
    }

    #[test]
    fn the_proxy_of_a_wapt_server_is_used_where_it_has_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("waptserver.ini");
        assert_eq!(proxy_of_wapt(&path), None);
        for (text, proxy) in [
            ("[options]\nhttp_proxy = http://u:p@10.0.0.1:3128\n", Some("http://u:***@10.0.0.1:3128")),
            ("[options]\nhttp_proxy = 10.0.0.1:3128\n", None),
            ("[options]\n", None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(proxy_of_wapt(&path).map(|url| url.to_string()).as_deref(), proxy, "{text}");
        }
    }

    #[test]
    fn addresses_that_can_not_be_used_are_named_by_their_keys() {
        let wrong = Some("http://a:99999/x".parse().unwrap());
        let origin = config::Upstream { origin: wrong.clone(), ..config::Upstream::default() };
        assert!(settings(&origin).unwrap_err().to_string().contains("`upstream.origin`"));
        let proxy = config::Upstream { proxy: wrong, ..config::Upstream::default() };
        assert!(settings(&proxy).unwrap_err().to_string().contains("`upstream.proxy`"));
    }
}
