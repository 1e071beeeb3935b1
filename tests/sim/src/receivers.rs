//! Those who are told what happens to a Release: they take a message, or fail in one of the ways in which receivers fail.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate::decide::notify::Delivery;
use tidegate::report::notify::{Carrier, Failure};

use crate::world::{Receivers, Shared};

/// How long one takes to answer.
const ANSWER: Duration = Duration::from_millis(40);

/// The receivers of a world, as one process of the operator reaches them.
pub struct People {
    pub shared: Shared,
    pub process: usize,
}

impl Carrier for People {
    fn carry<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let receivers = self.shared.lock().receivers;
            tokio::time::sleep(ANSWER / 2).await;
            let arrives = self.arrives(receivers, delivery);
            tokio::time::sleep(ANSWER / 2).await;
            match arrives {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}

impl People {
    /// What comes of a message; `None`: nobody says anything.
    fn arrives(&self, receivers: Receivers, delivery: &Delivery) -> Option<Result<(), Failure>> {
        let mut world = self.shared.lock();
        if !world.network.is_alive(self.process) {
            return None;
        }
        let (id, to) = (&delivery.message.owed.id, &delivery.to);
        match receivers {
            Receivers::Honest => {
                world.came(self.process, id, to, true);
                Some(Ok(()))
            }
            Receivers::Answerless => {
                world.came(self.process, id, to, false);
                None
            }
            Receivers::Failing => {
                world.in_vain(self.process, id, to);
                Some(Err(Failure::passing("come back later")))
            }
            Receivers::Refusing => {
                world.refused(id, to);
                Some(Err(Failure::Lasting("nobody of that name".to_owned())))
            }
            Receivers::Hanging => {
                world.in_vain(self.process, id, to);
                None
            }
        }
    }
}
