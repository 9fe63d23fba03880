//! The way to Microsoft, as `[upstream]` says it.

use super::{config, random};
use crate::{
    base::clock::SharedClock,
    upstream::{Limits, Settings, SetupError, Upstream},
};
use std::sync::Arc;

/// Prepares fetching; none where it is off. Reads the machine's certificates, and blocks for that.
pub fn open_upstream(config: &config::Upstream, clock: SharedClock) -> Result<Option<Upstream>, SetupError> {
    if !config.enabled {
        return Ok(None);
    }
    Upstream::new(settings(config)?, clock, Arc::new(random::number)).map(Some)
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
    fn addresses_that_can_not_be_used_are_named_by_their_keys() {
        let wrong = Some("http://a:99999/x".parse().unwrap());
        let origin = config::Upstream { origin: wrong.clone(), ..config::Upstream::default() };
        assert!(settings(&origin).unwrap_err().to_string().contains("`upstream.origin`"));
        let proxy = config::Upstream { proxy: wrong, ..config::Upstream::default() };
        assert!(settings(&proxy).unwrap_err().to_string().contains("`upstream.proxy`"));
    }
}
