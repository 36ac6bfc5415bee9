//! The jars: fetched once with Maven, which verifies them, kept in the cache, and how a JVM is started on them.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use embedded_postgres::{Account, Progress, Step};

use super::{Part, java::Java};
use crate::error::{Error, While};

/// Broker, worker and tools.
pub const KAFKA_VERSION: &str = "4.3.1";
/// The connector for PostgreSQL.
pub const DEBEZIUM_VERSION: &str = "3.7.0.Final";

const POM: &str = include_str!("../../maven/pom.xml");
const PATIENCE: Duration = Duration::from_mins(15);

/// All jars, and the Java to run them with.
#[derive(Debug, Clone)]
pub struct Bundle {
    home: PathBuf,
    java: Java,
    class_path: String,
}

impl Bundle {
    /// The pinned versions out of `cache`, where they are put first if they are not there.
    pub async fn find_or_fetch(cache: &Path, progress: &Progress) -> Result<Self, Error> {
        let java = Java::find()?;
        let home = cache.join(format!("kafka-{KAFKA_VERSION}-debezium-{DEBEZIUM_VERSION}"));
        if !is_whole(&home) {
            fetch(cache, &home, progress).await?;
        }
        let class_path = class_path(&home)?;
        Ok(Self { home, java, class_path })
    }

    /// A JVM with all of Kafka's classes and a small heap, for its tools: `org.apache.kafka.tools.TopicCommand`, say. Arguments may follow.
    pub fn tool(&self, main_class: &str) -> Command {
        let mut command = self.jvm();
        command.args(["-Xmx64m", "-XX:TieredStopAtLevel=1"]).arg(main_class);
        command
    }

    /// Everything up to the JVM's own options; the main class comes last.
    pub(super) fn jvm(&self) -> Command {
        let mut command = Command::new(&self.java.program);
        command.args(["-XX:+UseSerialGC", "-Djava.awt.headless=true", "-cp", &self.class_path]);
        command
    }

    pub(super) fn plugins(&self) -> PathBuf {
        self.home.join("plugins")
    }

    /// Where the loaded classes of a part are kept between starts, ready to be mapped into memory, which more than halves the start.
    pub(super) fn archive(&self, part: Part) -> PathBuf {
        self.archives().join(format!("{}-java-{}.jsa", part.word(), self.java.version))
    }

    fn archives(&self) -> PathBuf {
        self.home.join("archives")
    }
}

/// The copy of the pom arrives last, and tells which pom it was.
fn is_whole(home: &Path) -> bool {
    fs::read_to_string(home.join("pom.xml")).is_ok_and(|text| text == POM)
}

/// Sorted, as an archive of classes is only good for the same path.
fn class_path(home: &Path) -> Result<String, Error> {
    let libs = home.join("libs");
    let entries = fs::read_dir(&libs).when(|| format!("list {}", libs.display()))?;
    let mut jars: Vec<String> = entries.flatten().map(|entry| entry.path().display().to_string()).collect();
    jars.sort();
    Ok(jars.join(":"))
}

/// Works beside the final place and renames: several programs may do so at once, and a crash leaves nothing half-made.
async fn fetch(cache: &Path, home: &Path, progress: &Progress) -> Result<(), Error> {
    progress.tell(Step::Beside(format!(
        "downloading Kafka {KAFKA_VERSION} and Debezium {DEBEZIUM_VERSION} (80 MB, only once)"
    )));
    fs::create_dir_all(cache).when(|| format!("create {}", cache.display()))?;
    let staging = tempfile::Builder::new()
        .prefix("fetching-")
        .tempdir_in(cache)
        .when(|| format!("create a directory in {}", cache.display()))?;
    let bundle = staging.path().join("bundle");
    run_maven(cache, staging.path(), &bundle).await?;

    for directory in [bundle.clone(), bundle.join("archives")] {
        fs::create_dir_all(&directory).when(|| format!("create {}", directory.display()))?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))
            .when(|| format!("open {} to the user Kafka runs as", directory.display()))?;
    }
    Account::choose()?.own(&bundle.join("archives"))?; // the JVMs write there themselves
    let pom = bundle.join("pom.xml");
    fs::write(&pom, POM).when(|| format!("write {}", pom.display()))?;
    if !is_whole(home) {
        // Another program may win the race; its copy is as good.
        let _ = fs::remove_dir_all(home);
        let _ = fs::rename(&bundle, home);
    }
    if is_whole(home) {
        Ok(())
    } else {
        Err(Error::Fetch(format!("what arrived could not be moved to {}", home.display())))
    }
}

async fn run_maven(cache: &Path, directory: &Path, home: &Path) -> Result<(), Error> {
    let pom = directory.join("pom.xml");
    fs::write(&pom, POM).when(|| format!("write {}", pom.display()))?;
    let mut command = tokio::process::Command::new("mvn");
    command.args(["--batch-mode", "--no-transfer-progress", "--file"]).arg(&pom).arg("package");
    command.arg(format!("-Dhome={}", home.display())).current_dir(directory).kill_on_drop(true);
    let answer = match tokio::time::timeout(PATIENCE, command.output()).await {
        Err(_) => return Err(Error::Fetch(format!("nothing arrived whole within {} min", PATIENCE.as_secs() / 60))),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoMaven { cache: cache.to_path_buf() });
        }
        Ok(answer) => answer.when(|| "run mvn".to_owned())?,
    };
    if answer.status.success() {
        Ok(())
    } else {
        Err(Error::Fetch(errors_of(&String::from_utf8_lossy(&answer.stdout))))
    }
}

fn errors_of(output: &str) -> String {
    let errors: Vec<&str> = output.lines().filter(|line| line.contains("[ERROR]")).take(8).collect();
    if errors.is_empty() { output.lines().rev().take(8).collect::<Vec<_>>().join("\n") } else { errors.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_here_are_those_of_the_pom() {
        assert!(POM.contains(&format!("<kafka.version>{KAFKA_VERSION}</kafka.version>")));
        assert!(POM.contains(&format!("<debezium.version>{DEBEZIUM_VERSION}</debezium.version>")));
    }

    #[test]
    fn a_directory_with_another_pom_is_not_whole() {
        let place = tempfile::tempdir().unwrap();
        assert!(!is_whole(place.path()));
        fs::write(place.path().join("pom.xml"), "<project/>").unwrap();
        assert!(!is_whole(place.path()));
    }
}
