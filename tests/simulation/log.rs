//! What a story's log says: kept whole for a replay, and every ERROR of it fails the story.

use std::{
    fmt::Write,
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tracing::{Event, Level, Subscriber, field::Visit, span};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt};

/// The variable that has the log shown as it is written: 1, or `debug`.
const LOG: &str = "SIMULATION_LOG";

static NOW_MS: AtomicU64 = AtomicU64::new(0);
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static STORY: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = match std::env::var(LOG).as_deref() {
            Ok("debug") => Some(Level::DEBUG),
            Ok(_) => Some(Level::INFO),
            Err(_) => None,
        };
        tracing_subscriber::registry().with(Log { shown }).init();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            lock(&ERRORS).push(format!("a panic: {info}"));
            before(info);
        }));
    });
}

pub fn set_now(ms: u64) {
    NOW_MS.store(ms, Relaxed);
}

/// Adds to the story of this process.
pub fn tell(text: impl AsRef<str>) {
    let line = format!("{:>8.2} s  {}", NOW_MS.load(Relaxed) as f64 / 1_000.0, text.as_ref());
    if std::env::var_os(LOG).is_some() {
        println!("{line}");
    }
    lock(&STORY).push(line);
}

pub fn story() -> String {
    lock(&STORY).join("\n")
}

pub fn errors() -> Vec<String> {
    lock(&ERRORS).clone()
}

struct Log {
    shown: Option<Level>,
}

/// A host's name, in the span that the network's simulator puts around it.
struct Host(String);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        written.ok();
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if attributes.metadata().name() == "node"
            && let Some(span) = context.span(id)
        {
            let mut fields = Fields(String::new());
            attributes.record(&mut fields);
            span.extensions_mut().insert(Host(fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let shown = self.shown.is_some_and(|most| level <= most);
        if !target.starts_with("wuasync") || !(shown || level == Level::ERROR) {
            return;
        }
        let spans = context.event_scope(event).into_iter().flatten();
        let host = spans.filter_map(|span| span.extensions().get::<Host>().map(|host| host.0.clone())).next();
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let now = NOW_MS.load(Relaxed) as f64 / 1_000.0;
        let line = format!("{now:>8.2} s    {level}{} {target}:{}", host.unwrap_or_default(), fields.0);
        if shown {
            println!("{line}");
        }
        if level == Level::ERROR {
            lock(&ERRORS).push(line);
        }
    }
}
