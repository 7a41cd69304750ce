//! Speaks to pods over HTTP.

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};

/// A client that goes to pods directly and stays there. A proxy that is meant for the world outside (`HTTP_PROXY`) neither reaches
/// them nor may see their token, and nobody sends us elsewhere with it.
#[derive(Debug, Clone)]
pub struct PodClient(Client);

impl PodClient {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        Ok(Self(Client::builder().no_proxy().redirect(Policy::none()).build()?))
    }

    /// A GET of this address.
    pub fn get(&self, url: String) -> RequestBuilder {
        self.0.get(url)
    }

    /// A POST to this address.
    pub fn post(&self, url: String) -> RequestBuilder {
        self.0.post(url)
    }
}
