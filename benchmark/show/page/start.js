// Start of the page; it follows the reader's theme and width.
"use strict";

page.curves.start();
page.scatter.start();
page.viewer.start();

page.redraw = () => {
  page.legend();
  page.curves.draw();
  if (!page.by("images").hidden) page.scatter.draw();
  if (page.by("viewer").open) page.viewer.show(false);
};
page.dark.addEventListener("change", page.redraw);
page.narrow.addEventListener("change", () => {
  page.viewer.arrange();
  page.redraw();
});
page.viewer.recall();
window.addEventListener("popstate", page.viewer.recall);
window.addEventListener("hashchange", () => page.by("viewer").open || page.viewer.leave());
