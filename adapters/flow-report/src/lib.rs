//! Live page, API and metrics over HTTP and WebSocket.
