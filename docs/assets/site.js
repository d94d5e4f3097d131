// Records of the API reference are documented by the comments in their source: show it.
document$.subscribe(() => {
  for (const source of document.querySelectorAll("details.mkdocstrings-source")) {
    source.open = source.closest(".doc-class") !== null;
  }
});
