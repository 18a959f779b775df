//! Trace records on their way to an OpenTelemetry collector: each becomes a span, posted in batches as OTLP over HTTP
//! (protobuf) to `$OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces`.
//!
//! A thread of its own does that. Recording never waits for it: what it cannot take is dropped and counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind};
use prost::Message;

use crate::trace::Record;

/// The collector, as OpenTelemetry names the variable.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Records that wait to be posted.
const WAITING_MAX: usize = 16 * 1024;
/// Spans in one request, and how long the first of them waits for others.
const BATCH_MAX: usize = 512;
const BATCH_TIME: Duration = Duration::from_millis(500);
const POST_TIME: Duration = Duration::from_secs(10);
/// Failures are logged no more often than this.
const RELOG_TIME: Duration = Duration::from_secs(60);
/// Of a trace number that is no event's: the record belongs to no recorded event and is a trace of its own.
const ALONE: u64 = 1 << 63;

static SENDER: OnceLock<SyncSender<Record>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Begins to export if the environment names a collector.
pub fn start_from_environment() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    if endpoint.is_empty() {
        return;
    }
    let service = std::env::var(SERVICE_NAME).unwrap_or_else(|_| "skuld".to_owned());
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let exporter = Exporter::new(&endpoint, service);
    tracing::info!("Trace records go to {}", exporter.url);
    let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(move || exporter.run(&receiver));
    match thread {
        Ok(_) => drop(SENDER.set(sender)),
        Err(error) => tracing::warn!("No thread for exporting traces: {error}"),
    }
}

/// Takes a record along, if there is a collector and room.
pub fn offer(record: &Record) {
    if let Some(sender) = SENDER.get()
        && sender.try_send(record.clone()).is_err()
    {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

struct Exporter {
    url: String,
    service: String,
    agent: ureq::Agent,
    /// Tells the traces of this process from those of others; numbers are its own.
    process: u64,
    failure_told: Option<Instant>,
}

impl Exporter {
    fn new(endpoint: &str, service: String) -> Self {
        let settings = ureq::Agent::config_builder().timeout_global(Some(POST_TIME)).build();
        Self {
            url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            service,
            agent: settings.into(),
            process: crate::start::random_u64(),
            failure_told: None,
        }
    }

    fn run(mut self, records: &Receiver<Record>) {
        while let Ok(first) = records.recv() {
            let (mut batch, begin) = (vec![first], Instant::now());
            while batch.len() < BATCH_MAX
                && let Ok(next) = records.recv_timeout(BATCH_TIME.saturating_sub(begin.elapsed()))
            {
                batch.push(next);
            }
            self.post(&batch);
        }
    }

    fn post(&mut self, records: &[Record]) {
        let body = self.request(records).encode_to_vec();
        let sent = self.agent.post(&self.url).content_type("application/x-protobuf").send(&body[..]);
        let dropped =
            DROPPED.swap(0, Ordering::Relaxed) + if sent.is_err() { records.len() as u64 } else { 0 };
        if dropped > 0 && self.failure_told.is_none_or(|told| told.elapsed() >= RELOG_TIME) {
            self.failure_told = Some(Instant::now());
            let why = sent.err().map_or_else(|| "it does not keep up".to_owned(), |error| error.to_string());
            tracing::warn!("{dropped} trace records did not reach {}: {why}", self.url);
        }
    }

    fn request(&self, records: &[Record]) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope { name: "skuld".to_owned(), ..Default::default() };
        let spans = records.iter().map(|record| self.span(record)).collect();
        let about = vec![
            text("service.name", &self.service),
            text("service.version", env!("CARGO_PKG_VERSION")),
            whole("process.pid", i64::from(std::process::id())),
        ];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes: about, ..Default::default() }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }],
                ..Default::default()
            }],
        }
    }

    /// The handling of a message; the wait before it is an attribute.
    fn span(&self, record: &Record) -> Span {
        let trace = if record.trace == 0 { ALONE | record.number } else { record.trace };
        let start = (record.sent_unix_us.max(0) as u64) * 1000 + record.waited_ns;
        Span {
            trace_id: [self.process.to_be_bytes(), trace.to_be_bytes()].concat(),
            span_id: record.number.to_be_bytes().to_vec(),
            parent_span_id: if record.cause == 0 { Vec::new() } else { record.cause.to_be_bytes().to_vec() },
            name: format!("{} {}", record.receiver.kind.name(), record.message),
            kind: SpanKind::Consumer.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + record.ran_ns,
            attributes: vec![
                text("skuld.message", record.message),
                text("skuld.sender", &record.sender.to_string()),
                text("skuld.receiver", &record.receiver.to_string()),
                whole("skuld.waited_ns", record.waited_ns as i64),
                whole("thread.id", i64::from(record.thread)),
            ],
            ..Default::default()
        }
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn whole(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::envelope::{ActorId, ActorKind};

    /// Answers one POST and returns its path, content type and body.
    fn collector(listener: &TcpListener) -> (String, String, Vec<u8>) {
        let (stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream);
        let (mut lines, mut length, mut kind) = (Vec::new(), 0, String::new());
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ") {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().expect("a number"),
                    "content-type" => kind = value.to_owned(),
                    _ => {}
                }
            }
            lines.push(line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        reader.get_mut().write_all(answer).expect("the answer");
        (lines.swap_remove(0), kind, body)
    }

    #[test]
    fn records_arrive_as_spans() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}/", listener.local_addr().expect("its address"));
        let id = |kind| ActorId { kind, number: 7 };
        let record = |number, cause, trace| Record {
            trace,
            number,
            cause,
            sender: id(ActorKind::Connection),
            receiver: id(ActorKind::Shard),
            message: "ExecuteBatch",
            sent_unix_us: 1_000_000,
            waited_ns: 500,
            ran_ns: 250,
            thread: 3,
        };
        let (sender, receiver) = sync_channel(8);
        [record(5, 0, 9), record(6, 5, 9), record(7, 0, 0)]
            .into_iter()
            .for_each(|r| sender.send(r).expect("room"));
        drop(sender);
        let exporter = Exporter::new(&endpoint, "a service".to_owned());
        let posting = std::thread::spawn(move || exporter.run(&receiver));
        let (request, kind, body) = collector(&listener);
        posting.join().expect("it ends");
        assert_eq!((request.as_str(), kind.as_str()), ("POST /v1/traces HTTP/1.1", "application/x-protobuf"));
        let request = ExportTraceServiceRequest::decode(&body[..]).expect("OTLP");
        let of_process = &request.resource_spans[0];
        let about = &of_process.resource.as_ref().expect("a resource").attributes;
        assert!(about.contains(&text("service.name", "a service")), "{about:?}");
        let spans = &of_process.scope_spans[0].spans;
        assert_eq!(spans.len(), 3);
        assert!(spans.iter().all(|s| s.trace_id.len() == 16 && s.span_id.len() == 8));
        assert_eq!(spans[0].name, "shard ExecuteBatch");
        assert_eq!(
            (spans[0].start_time_unix_nano, spans[0].end_time_unix_nano),
            (1_000_000_500, 1_000_000_750)
        );
        assert!(spans[0].parent_span_id.is_empty());
        assert_eq!((&spans[1].parent_span_id, &spans[1].trace_id), (&spans[0].span_id, &spans[0].trace_id));
        assert_ne!(spans[2].trace_id, spans[0].trace_id, "no event of theirs was recorded");
        assert!(spans[0].attributes.contains(&whole("skuld.waited_ns", 500)));
    }
}
