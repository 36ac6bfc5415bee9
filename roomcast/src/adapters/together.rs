//! Asks for many at once when many ask at once: the hub's questions that come while others are being answered go out
//! together, as soon as one of those is answered.
//!
//! Whoever asks alone is asked for at once and alone. A hub to which thousands come back costs its database some tens of
//! queries, not thousands. A question that fails, fails for all that went with it: they were asked in one query.

use std::{sync::Arc, time::Duration};

use ::backend::authority::Question;
use async_trait::async_trait;
use batch_aint_one::{Batcher, BatchingPolicy, Limits, Processor};
use hub::{Access, Authority, AuthorityError, Backlog, Subscription};
use protocol::{Channel, Offset, UserId, silence};
use tokio::time::timeout;

use super::authority::{Answers, Truth};

/// Questions that go out together. More would make the first of them wait for the last.
const LARGEST: usize = 500;
/// Under way at the same time: while one is answered the next is on its way, and one that hangs stops nobody.
const UNDER_WAY: usize = 2;
/// Questions that may wait. Beyond this the client is told to come back.
const WAITING: usize = 100_000;
/// After this long those who asked have given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many questions went out together.
const TOGETHER: &str = "roomcast_authority_batch_size";

/// The truth as the hub asks it.
pub struct Together<T: Truth> {
    truth: Arc<T>,
    subscriptions: Batcher<Subscriptions<T>>,
    access: Batcher<Accesses<T>>,
}

impl<T: Truth> Together<T> {
    /// Within a runtime: a task of each kind of question gathers them, and ends with this.
    pub fn new(truth: T) -> Self {
        metrics::describe_histogram!(TOGETHER, "Questions of the hub that were asked in one query, by kind");
        let truth = Arc::new(truth);
        Self {
            subscriptions: batcher("subscriptions", Subscriptions(Arc::clone(&truth))),
            access: batcher("access", Accesses(Arc::clone(&truth))),
            truth,
        }
    }
}

fn batcher<P: Processor>(name: &str, processor: P) -> Batcher<P> {
    let limits = Limits::builder().max_batch_size(LARGEST).max_key_concurrency(UNDER_WAY).max_key_queued_items(WAITING);
    let batcher = Batcher::builder().name(name).processor(processor).limits(limits.build());
    batcher.batching_policy(BatchingPolicy::Immediate).build()
}

#[async_trait]
impl<T: Truth> Authority for Together<T> {
    async fn subscriptions(&self, user: &str) -> Result<Vec<Subscription>, AuthorityError> {
        // Only users of the backend have channels; their ids are numbers.
        let Ok(user) = user.parse::<UserId>() else { return Ok(Vec::new()) };
        self.subscriptions.add((), user).await.map_err(AuthorityError::unavailable)
    }

    async fn access(&self, user: &str, channel: &Channel) -> Result<Access, AuthorityError> {
        let question = Question { user: user.to_owned(), channel: channel.clone() };
        self.access.add((), question).await.map_err(AuthorityError::unavailable)
    }

    async fn backlog(&self, channel: &Channel, after: Offset, limit: u32) -> Result<Backlog, AuthorityError> {
        in_time(self.truth.backlog(channel, after, limit)).await
    }
}

struct Subscriptions<T>(Arc<T>);

struct Accesses<T>(Arc<T>);

impl<T> Clone for Subscriptions<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for Accesses<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Truth> Processor for Subscriptions<T> {
    type Key = ();
    type Input = UserId;
    type Output = Vec<Subscription>;
    type Error = Arc<AuthorityError>;
    type Resources = ();

    async fn acquire_resources(&self, (): ()) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn process(
        &self,
        (): (),
        users: impl Iterator<Item = UserId> + Send,
        (): (),
    ) -> Result<Vec<Self::Output>, Self::Error> {
        let users: Vec<UserId> = users.collect();
        asked("subscriptions", users.len(), self.0.subscriptions(&users)).await
    }
}

impl<T: Truth> Processor for Accesses<T> {
    type Key = ();
    type Input = Question;
    type Output = Access;
    type Error = Arc<AuthorityError>;
    type Resources = ();

    async fn acquire_resources(&self, (): ()) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn process(
        &self,
        (): (),
        questions: impl Iterator<Item = Question> + Send,
        (): (),
    ) -> Result<Vec<Self::Output>, Self::Error> {
        let questions: Vec<Question> = questions.collect();
        asked("access", questions.len(), self.0.access(&questions)).await
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
async fn asked<A>(
    kind: &'static str,
    questions: usize,
    answers: impl Future<Output = Answers<A>>,
) -> Result<Vec<A>, Arc<AuthorityError>> {
    metrics::histogram!(TOGETHER, "question" => kind).record(questions as f64);
    in_time(answers).await.map_err(Arc::new)
}

async fn in_time<A>(answer: impl Future<Output = Result<A, AuthorityError>>) -> Result<A, AuthorityError> {
    let answer = timeout(PATIENCE.min(silence::bound()), answer).await;
    answer.unwrap_or_else(|late| Err(AuthorityError::unavailable(late)))
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::future::join_all;
    use parking_lot::Mutex;
    use tokio::sync::Semaphore;

    use super::*;

    /// Answers when it is allowed to, and knows how often and for how many it was asked.
    struct Slow {
        allowed: Semaphore,
        asked: Mutex<Vec<usize>>,
        failures: AtomicUsize,
    }

    impl Slow {
        fn new() -> Self {
            Self { allowed: Semaphore::new(0), asked: Mutex::default(), failures: AtomicUsize::new(0) }
        }

        async fn answer<Q, A>(&self, questions: &[Q], answer: impl Fn(&Q) -> A) -> Answers<A> {
            self.asked.lock().push(questions.len());
            self.allowed.acquire().await.map_err(AuthorityError::unavailable)?.forget();
            let fails = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            match fails {
                Ok(_) => Err(AuthorityError::unavailable("out of order")),
                Err(_) => Ok(questions.iter().map(answer).collect()),
            }
        }
    }

    impl Truth for Slow {
        async fn subscriptions(&self, users: &[UserId]) -> Answers<Vec<Subscription>> {
            let own = |user: &UserId| vec![Subscription { channel: Channel::user(*user), position: None }];
            self.answer(users, own).await
        }

        async fn access(&self, questions: &[Question]) -> Answers<Access> {
            let own = |Question { user, channel }: &Question| channel.user_id() == user.parse().ok();
            self.answer(questions, |it| if own(it) { Access::Granted(None) } else { Access::Denied }).await
        }

        fn backlog(&self, _: &Channel, _: Offset, _: u32) -> impl Future<Output = Result<Backlog, AuthorityError>> {
            ready(Err(AuthorityError::NoSuchChannel))
        }
    }

    /// Lets `UNDER_WAY` questions go out and starts `more`, so that these have to wait.
    async fn crowd(together: &Arc<Together<Slow>>, more: i64) -> Vec<tokio::task::JoinHandle<bool>> {
        let ask = |user: i64| {
            let together = Arc::clone(together);
            tokio::spawn(async move {
                let own = Channel::user(UserId(user));
                let answer = together.subscriptions(&user.to_string()).await;
                answer.is_ok_and(|channels| channels.len() == 1 && channels[0].channel == own)
            })
        };
        let mut asking = Vec::new();
        for user in 1..=UNDER_WAY {
            asking.push(ask(i64::try_from(user).unwrap()));
            while together.truth.asked.lock().len() < user {
                tokio::task::yield_now().await;
            }
        }
        asking.extend((100..100 + more).map(ask));
        asking
    }

    #[tokio::test]
    async fn who_asks_alone_is_asked_for_at_once() {
        let together = Together::new(Slow::new());
        together.truth.allowed.add_permits(9);
        for user in ["7", "8"] {
            together.subscriptions(user).await.unwrap();
        }
        assert_eq!(together.subscriptions("somebody").await.unwrap(), []);
        assert_eq!(together.access("7", &Channel::user(UserId(7))).await.unwrap(), Access::Granted(None));
        assert_eq!(together.access("7", &Channel::user(UserId(8))).await.unwrap(), Access::Denied);
        assert_eq!(*together.truth.asked.lock(), [1; 4]);
    }

    #[tokio::test]
    async fn who_comes_while_others_are_asked_for_goes_with_the_next_and_gets_his_own_answer() {
        let together = Arc::new(Together::new(Slow::new()));
        let asking = crowd(&together, 2000).await;
        together.truth.allowed.add_permits(2000);
        assert!(join_all(asking).await.into_iter().all(Result::unwrap));
        let asked = together.truth.asked.lock().clone();
        assert_eq!(asked.iter().sum::<usize>(), 2000 + UNDER_WAY);
        assert!(asked.iter().all(|&questions| questions <= LARGEST), "{asked:?}");
        assert!(asked.len() < 200, "{asked:?}");
    }

    #[tokio::test]
    async fn a_failure_is_told_to_those_whom_it_concerns() {
        let together = Arc::new(Together::new(Slow::new()));
        together.truth.failures.store(UNDER_WAY, Ordering::Relaxed);
        let asking = crowd(&together, 5).await;
        together.truth.allowed.add_permits(99);
        let answered: Vec<bool> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answered, [vec![false; UNDER_WAY], vec![true; 5]].concat());
    }
}
