//! A real Kafka with a real Connect, one for all tests of this program, and topics of a test's own.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use debezium::{Bundle, Options, Stack};
use embedded_postgres::{Directories, Progress};
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, Producer as _},
};
use relay::topics;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

async fn shared() -> &'static RwLock<Stack> {
    static STACK: OnceCell<RwLock<Stack>> = OnceCell::const_new();
    #[expect(clippy::print_stderr, reason = "a download may take its time")]
    let start = async || {
        let cache = Directories::of_this_user().unwrap().cache;
        let progress = Progress::new(|step| eprintln!("{step}"));
        let bundle = Bundle::find_or_fetch(&cache, &progress).await.unwrap();
        // Its caretaker removes the directory when this program ends.
        RwLock::new(Stack::start(&bundle, &Options::temporary(scratch())).await.unwrap())
    };
    STACK.get_or_init(start).await
}

/// A directory that the user Kafka runs as can reach, also when the tests run as root.
fn scratch() -> PathBuf {
    let parent = if fs::exists("/var/tmp").unwrap() { "/var/tmp".into() } else { std::env::temp_dir() };
    let directory = tempfile::Builder::new().prefix("roomcast-test-").tempdir_in(parent).unwrap().keep();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The stack, together with others.
pub(crate) async fn stack() -> RwLockReadGuard<'static, Stack> {
    shared().await.read().await
}

/// The stack, to disturb it.
pub(crate) async fn stack_alone() -> RwLockWriteGuard<'static, Stack> {
    shared().await.write().await
}

/// The same with a Connect that answers. It ends by itself where a test before kept Kafka away for long; in the product the
/// demo, or Docker, starts it again.
pub(crate) async fn stack_alone_with_connect() -> RwLockWriteGuard<'static, Stack> {
    let stack = stack_alone().await;
    if stack.connect().names().await.is_err() {
        stack.stop_connect().await;
        stack.start_connect().await.unwrap();
    }
    stack
}

/// A topic that no other test knows, and who writes to it.
#[derive(Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) brokers: String,
    pub(crate) producer: FutureProducer,
}

impl Topic {
    pub(crate) async fn make(stack: &Stack, partitions: i32) -> Self {
        let topic = Self::named(stack, format!("test-{:016x}", rand::random::<u64>()));
        let wanted = [topics::Topic::new(&topic.name, partitions)];
        let made = topics::ensure(&topic.brokers, &BTreeMap::new(), &wanted).await.unwrap();
        assert_eq!(made, [topic.name.as_str()]);
        topic
    }

    pub(crate) fn named(stack: &Stack, name: String) -> Self {
        let brokers = stack.bootstrap_servers();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &brokers).set("linger.ms", "20").set("message.max.bytes", "10000000");
        // Else what is sent again, to a topic that is not quite there yet, would come out of order.
        config.set("enable.idempotence", "true");
        Self { name, brokers, producer: config.create().unwrap() }
    }

    /// How many records each partition has had.
    pub(crate) fn records(&self, partitions: i32) -> Vec<i64> {
        let client = self.producer.client();
        let end = |partition| client.fetch_watermarks(&self.name, partition, Duration::from_secs(20)).unwrap().1;
        (0..partitions).map(end).collect()
    }
}
