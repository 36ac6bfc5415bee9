//! Kafka and Connect with Debezium, as two child processes on the loopback interface.
//!
//! They start together (the worker waits for the broker by itself), keep what they know in one directory, and end with the
//! program. For tests of faults each can be stopped, killed and started on its own; ports stay.

mod addresses;
mod bundle;
mod caretaker;
mod directory;
mod java;
mod part;
mod ports;
mod process;

use std::{
    io,
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use embedded_postgres::{Progress, Step};
use tokio::time::sleep;

pub use self::{
    addresses::Addresses,
    bundle::{Bundle, DEBEZIUM_VERSION, KAFKA_VERSION},
    java::OLDEST_JAVA,
    part::Part,
};
use self::{
    caretaker::{Caretaker, LastWill},
    directory::Directory,
    ports::Ports,
    process::Process,
};
use crate::{Connect, Error};

const EXIT_POLL: Duration = Duration::from_millis(200);

/// How to run a stack.
#[derive(Debug, Clone)]
pub struct Options {
    /// Holds topics, logs, settings and a lock.
    pub data_dir: PathBuf,
    /// Where clients reach Kafka; 0 takes a free one.
    pub kafka_port: u16,
    /// Where Connect's REST interface is; 0 takes a free one.
    pub connect_port: u16,
    /// Removes topics and connectors before the start.
    pub fresh: bool,
    /// Removes `data_dir` when the stack stops or the program ends.
    pub temporary: bool,
    /// Lets the JVMs compile as well as they can. Costs start time and memory, and pays after minutes of load.
    pub optimise: bool,
    /// Told what takes time.
    pub progress: Progress,
}

impl Options {
    /// Keeps topics and connectors.
    pub fn durable(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            kafka_port: 0,
            connect_port: 0,
            fresh: false,
            temporary: false,
            optimise: false,
            progress: Progress::silent(),
        }
    }

    /// Gone afterwards.
    pub fn temporary(data_dir: impl Into<PathBuf>) -> Self {
        Self { temporary: true, ..Self::durable(data_dir) }
    }
}

/// A running Kafka and a running Connect. Dropping it stops both, which takes seconds: async code uses [`Stack::stop`].
#[derive(Debug)]
pub struct Stack {
    parts: Arc<Parts>,
    ports: Ports,
}

impl Stack {
    /// Starts both and returns when Connect takes connectors.
    pub async fn start(bundle: &Bundle, options: &Options) -> Result<Self, Error> {
        let (bundle, options) = (bundle.clone(), options.clone());
        let ports = Ports::choose(options.kafka_port, options.connect_port)?;
        let begin = move || Parts::prepare(bundle, &options, ports);
        let stack = Self { parts: Arc::new(blocking(begin).await?), ports };
        let (kafka, connect) = tokio::join!(stack.start_kafka(), stack.start_connect());
        kafka.and(connect)?;
        stack.parts.directory.announce(&stack.addresses())?;
        Ok(stack)
    }

    /// Where clients of Kafka begin.
    pub fn bootstrap_servers(&self) -> String {
        self.addresses().bootstrap_servers
    }

    /// Where Connect's REST interface is.
    pub fn connect_url(&self) -> String {
        self.addresses().connect_url
    }

    /// A client of this stack's Connect.
    pub fn connect(&self) -> Connect {
        Connect::new(&self.connect_url())
    }

    /// Its process id, while it runs.
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.parts.process(part).pid()
    }

    /// Where it says what it does.
    pub fn log(&self, part: Part) -> PathBuf {
        self.parts.directory.log(part)
    }

    /// Starts the broker, if it does not run, and returns when it answers.
    pub async fn start_kafka(&self) -> Result<(), Error> {
        self.launch(Part::Kafka).await?;
        self.until_ready(Part::Kafka, || self.ports.kafka_answers()).await
    }

    /// Starts the worker, if it does not run, and returns when it takes connectors.
    pub async fn start_connect(&self) -> Result<(), Error> {
        self.launch(Part::Connect).await?;
        let connect = self.connect();
        self.until_ready(Part::Connect, async || matches!(connect.health().await, Ok(true))).await
    }

    /// Stops the broker in order; the worker stays.
    pub async fn stop_kafka(&self) {
        self.end(Part::Kafka, process::End::InOrder).await;
    }

    /// Stops the worker in order.
    pub async fn stop_connect(&self) {
        self.end(Part::Connect, process::End::InOrder).await;
    }

    /// Kills the broker as a crash would.
    pub async fn kill_kafka(&self) {
        self.end(Part::Kafka, process::End::AtOnce).await;
    }

    /// Kills the worker as a crash would.
    pub async fn kill_connect(&self) {
        self.end(Part::Connect, process::End::AtOnce).await;
    }

    /// Returns when one of them ended without having been asked to. Cancel-safe.
    pub async fn exited(&self) -> io::Result<(Part, ExitStatus)> {
        loop {
            for part in Part::ALL {
                if let Some(status) = self.parts.process(part).unexpected_end()? {
                    return Ok((part, status));
                }
            }
            sleep(EXIT_POLL).await;
        }
    }

    /// Stops both in order.
    pub async fn stop(self) {
        blocking(move || drop(self)).await;
    }

    fn addresses(&self) -> Addresses {
        Addresses::of(self.ports)
    }

    async fn launch(&self, part: Part) -> Result<(), Error> {
        let parts = Arc::clone(&self.parts);
        blocking(move || parts.launch(part)).await
    }

    async fn end(&self, part: Part, end: process::End) {
        let parts = Arc::clone(&self.parts);
        blocking(move || parts.process(part).end(end)).await;
    }

    async fn until_ready(&self, part: Part, ready: impl AsyncFn() -> bool) -> Result<(), Error> {
        let failure = self.parts.process(part).until(ready).await;
        failure.map_err(|reason| self.parts.directory.start_error(part, reason))
    }
}

/// What the processes need as long as one of them runs.
#[derive(Debug)]
struct Parts {
    bundle: Bundle,
    directory: Directory,
    optimise: bool,
    temporary: bool,
    progress: Progress,
    caretaker: Mutex<Caretaker>,
    kafka: Process,
    connect: Process,
}

impl Parts {
    fn prepare(bundle: Bundle, options: &Options, ports: Ports) -> Result<Self, Error> {
        let directory = Directory::open(&options.data_dir)?;
        directory.end_leftovers(&options.progress);
        if options.fresh {
            directory.start_over()?;
        }
        directory.write_settings(&bundle, ports)?;
        directory.format(&bundle, &options.progress)?;
        let will = if options.temporary { LastWill::Remove } else { LastWill::Stop };
        let caretaker = Mutex::new(Caretaker::employ(directory.path(), will)?);
        Ok(Self {
            bundle,
            directory,
            optimise: options.optimise,
            temporary: options.temporary,
            progress: options.progress.clone(),
            caretaker,
            kafka: Process::new(Part::Kafka),
            connect: Process::new(Part::Connect),
        })
    }

    fn process(&self, part: Part) -> &Process {
        match part {
            Part::Kafka => &self.kafka,
            Part::Connect => &self.connect,
        }
    }

    fn launch(&self, part: Part) -> Result<(), Error> {
        if self.process(part).runs() {
            return Ok(());
        }
        self.progress.tell(Step::Beside(format!("starting {part}")));
        let archive = self.bundle.archive(part);
        let command = self.directory.command(&self.bundle, part, self.optimise, &archive)?;
        let pid = self.process(part).launch(command, archive)?;
        self.caretaker.lock().unwrap_or_else(PoisonError::into_inner).watch(part, pid);
        self.directory.note_pid(part, pid)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // What is thrown away needs no order. The worker goes first: it would wait for the broker.
        let end = if self.temporary { process::End::WithoutCare } else { process::End::InOrder };
        self.connect.end(end);
        self.kafka.end(end);
        self.directory.withdraw();
        if self.temporary {
            self.directory.remove();
        }
        self.caretaker.get_mut().unwrap_or_else(PoisonError::into_inner).dismiss();
    }
}

/// Processes and files are waited for on a thread of their own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
