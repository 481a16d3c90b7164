//! Pushes changes to one browser.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};

use crate::board::Board;

/// Least time between two pushes to one browser: changes in between are sent together.
const PACE: Duration = Duration::from_millis(200);
/// A browser that takes longer than this to read a push is let go; it reconnects when it can.
const PATIENCE: Duration = Duration::from_secs(10);
/// After this long without a change a ping shows whether the browser is still there.
const IDLE: Duration = Duration::from_secs(20);

/// Sends the whole board, then each change, until the browser goes. A slow browser gets fewer, larger steps: nothing is queued for it.
pub(crate) async fn push(mut socket: WebSocket, board: Board) {
    let mut changed = board.watch();
    let mut version = 0;
    loop {
        changed.borrow_and_update();
        let change = board.since(version);
        version = change.version;
        let Ok(text) = serde_json::to_string(&change) else {
            return;
        };
        if !send(&mut socket, Message::Text(text.into())).await {
            return;
        }
        tokio::time::sleep(PACE).await;
        loop {
            tokio::select! {
                more = changed.changed() => match more {
                    Ok(()) => break,
                    Err(_) => return,
                },
                incoming = socket.recv() => match incoming {
                    // The page sends nothing; pings are answered by the library.
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                () = tokio::time::sleep(IDLE) => {
                    if !send(&mut socket, Message::Ping(Vec::new().into())).await {
                        return;
                    }
                }
            }
        }
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
