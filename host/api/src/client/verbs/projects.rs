//! The verbs of projects, and the audit log.

use reqwest::Method;

use super::{Answer, all_pages, if_match};
use crate::client::Client;
use crate::client::request::ListQuery;
use crate::v1::{AuditLine, CreateProject, List, PatchProject, Project};

/// Projects.
impl Client {
    /// Asks for a project.
    ///
    /// # Errors
    /// What is wrong with it, or that nothing was answered.
    pub async fn create_project(&self, project: &CreateProject) -> Answer<Project> {
        let url = self.url(&["v1", "projects"])?;
        self.json(self.request(Method::POST, url).json(project)).await
    }

    /// A project, with what it has.
    ///
    /// # Errors
    /// When there is none, or nothing was answered.
    pub async fn show_project(&self, name: &str) -> Answer<Project> {
        self.get(&["v1", "projects", name]).await
    }

    /// A page of projects.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn projects(&self, query: &ListQuery) -> Answer<List<Project>> {
        self.get_with(&["v1", "projects"], query).await
    }

    /// All projects.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn all_projects(&self) -> Answer<Vec<Project>> {
        all_pages!(self, projects, None::<&str>)
    }

    /// Changes a project; with a revision only when it is still that.
    ///
    /// # Errors
    /// What is wrong with the change, or that nothing was answered.
    pub async fn patch_project(&self, name: &str, patch: &PatchProject, revision: Option<u64>) -> Answer<Project> {
        let request = self.request(Method::PATCH, self.url(&["v1", "projects", name])?);
        self.json(if_match(request.json(patch), revision)).await
    }

    /// Deletes a project, and its tokens with it.
    ///
    /// # Errors
    /// When it still has resources, there is none, or nothing was answered.
    pub async fn delete_project(&self, name: &str) -> Answer<Project> {
        let url = self.url(&["v1", "projects", name])?;
        self.json(self.request(Method::DELETE, url)).await
    }

    /// The last lines of the audit log of the manager that answers, newest first.
    ///
    /// # Errors
    /// When it keeps none, or nothing was answered.
    pub async fn audit(&self, limit: u32) -> Answer<List<AuditLine>> {
        let query = ListQuery {
            limit: Some(limit),
            ..ListQuery::default()
        };
        self.get_with(&["v1", "audit"], &query).await
    }
}
