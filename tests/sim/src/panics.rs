//! Panics, wherever a story is played: each is noticed, and said together with the story in which it came, also where a panic ends
//! the whole program (`panic = "abort"`), which has its last words then.

use std::cell::{Cell, RefCell};
use std::sync::{Once, OnceLock};

use crate::story::Story;

thread_local! {
    static PLAYED: RefCell<Option<Story>> = const { RefCell::new(None) };
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

static LAST_WORDS: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// What the program says last where a panic ends it. The first who says so is the program itself.
pub fn last_words(say: impl Fn() + Send + Sync + 'static) {
    let _first_stays = LAST_WORDS.set(Box::new(say));
}

/// From here on this story is played on this thread.
pub fn begin(story: &Story) {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            PLAYED.with_borrow(|played| {
                if let Some(story) = played {
                    eprintln!("a panic in the story\n{story}");
                }
            });
            before(panic);
            if cfg!(panic = "abort")
                && let Some(say) = LAST_WORDS.get()
            {
                say();
            }
        }));
    });
    PLAYED.set(Some(story.clone()));
    PANICS.set(0);
}

/// It is over. Panics that there were in it.
pub fn end() -> u64 {
    PLAYED.set(None);
    PANICS.take()
}
