//! Notes every ERROR in the log and every panic outside the tests' own threads.

use std::sync::{Mutex, Once, PoisonError};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

static NOTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = tracing_subscriber::fmt::layer().with_test_writer().with_filter(EnvFilter::from_default_env());
        tracing_subscriber::registry().with(shown).with(Errors).init();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // A test's own thread carries the test's name.
            if std::thread::current().name().is_none_or(|name| name.starts_with("tokio")) {
                note(format!("a task panicked: {info}"));
            }
            before(info);
        }));
    });
}

/// Fails if anything was noted in this process.
pub fn check() {
    let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(noted.is_empty(), "errors while the test ran: {noted:#?}");
}

fn note(text: String) {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner).push(text);
}

struct Errors;

impl<S: tracing::Subscriber> Layer<S> for Errors {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::ERROR && event.metadata().target().starts_with("wuasync") {
            let mut text = event.metadata().target().to_owned();
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                text += &format!(" {field}={value:?}");
            });
            note(text);
        }
    }
}
