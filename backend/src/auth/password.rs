//! Argon2id, off the async threads and a few at a time: a hash takes 19 MiB and tens of milliseconds.

use std::{
    sync::{Arc, LazyLock},
    thread::available_parallelism,
    time::Duration,
};

use argon2::{
    Argon2, PasswordHasher, PasswordVerifier,
    password_hash::{Error, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::ApiError;

/// How long a sign-in waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Compared with when there is no such user, so that the time does not tell who exists.
static NOBODY: LazyLock<Result<String, Error>> = LazyLock::new(|| hash("nobody signs in with this"));

/// Hashes and verifies.
#[derive(Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(available_parallelism().map_or(2, usize::from))) }
    }
}

impl Passwords {
    /// The PHC string of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        self.run(move || hash(&password)).await?.map_err(|error| ApiError::internal(error.to_string()))
    }

    /// Whether the password is the one of this hash. Takes as long without a hash as with one.
    pub(crate) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, ApiError> {
        self.run(move || {
            let nobody = NOBODY.clone()?;
            let exists = stored.is_some();
            let stored = stored.unwrap_or(nobody);
            let stored = PasswordHash::new(&stored)?;
            match Argon2::default().verify_password(password.as_bytes(), &stored) {
                Ok(()) => Ok(exists),
                Err(Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await?
        .map_err(|error: Error| ApiError::internal(error.to_string()))
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let turn = timeout(PATIENCE, self.turns.clone().acquire_owned()).await.map_err(|_| ApiError::Busy)?;
        let turn = turn.map_err(|_| ApiError::Stopping)?;
        spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        })
        .await
        .map_err(ApiError::internal)
    }
}

fn hash(password: &str) -> Result<String, Error> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_who_exists_passes() {
        let passwords = Passwords::default();
        let stored = passwords.hash("roomcast".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("roomcast".to_owned(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("Roomcast".to_owned(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("nobody signs in with this".to_owned(), None).await.unwrap());
    }
}
