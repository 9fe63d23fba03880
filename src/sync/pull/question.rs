//! Asking the parent for its head, although it tells of every change by itself: a safety net.
//!
//! Whoever asks gets a number; the connection to the parent answers all numbers up to the one that it saw when it
//! asked, or greeted, the parent.

use tokio::sync::watch;

/// Questions, and how many of them are answered.
pub(in crate::sync) struct Questions {
    asked: watch::Sender<u64>,
    answered: watch::Sender<u64>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { asked: watch::Sender::new(0), answered: watch::Sender::new(0) }
    }
}

impl Questions {
    /// Asks, and waits for the answer, however long it takes: the parent's newest state is here then.
    pub(in crate::sync) async fn ask(&self) {
        let mut answered = self.answered.subscribe();
        let mut number = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        // The sender is this one's own.
        answered.wait_for(|answered| *answered >= number).await.ok();
    }

    /// The questions from now on; those before are seen.
    pub(super) fn asked(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// Everything up to this number is answered.
    pub(super) fn answer(&self, number: u64) {
        self.answered.send_if_modified(|answered| {
            let before = *answered;
            *answered = before.max(number);
            *answered > before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Arc, time::Duration};

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_waits_for_an_answer_to_his_question_or_a_later_one() {
        let questions = Arc::new(Questions::default());
        let mut asked = questions.asked();
        let ask = || {
            let questions = questions.clone();
            tokio::spawn(async move { questions.ask().await })
        };
        let (first, second) = (ask(), ask());
        asked.wait_for(|asked| *asked == 2).await.unwrap();
        questions.answer(1);
        first.await.unwrap();
        assert!(!second.is_finished());
        questions.answer(2);
        questions.answer(1);
        second.await.unwrap();
        let third = tokio::time::timeout(Duration::from_secs(60), questions.ask()).await;
        assert!(third.is_err(), "nobody has answered it");
    }
}
