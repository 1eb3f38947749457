// What the page does by itself: sends files over HTTP, follows the system's colours, takes keys, sends the views' size.
(() => {
  const state = (name, value) => window.trame.state.set(name, value);

  function upload(files) {
    if (!files || !files.length) return;
    if (window.trame.state.get("upload_percent") >= 0) return state("error", "One upload at a time.");
    if (files.length > 1) return state("error", "Upload one file; zip the files of a DICOM series.");
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => state("upload_percent", Math.round((100 * event.loaded) / event.total));
    request.onerror = () => finish("The upload was interrupted.");
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { answer = { error: request.responseText }; }
      finish(request.status < 300 ? "" : answer.error || "The upload failed.");
    };
    const finish = (error) => {
      state("upload_percent", -1);
      if (error) state("error", error);
      document.getElementById("upload").value = "";
    };
    state("upload_percent", 0);
    request.open("POST", "upload?name=" + encodeURIComponent(files[0].name));
    request.send(files[0]);
  }

  function onKey(event) {
    if (event.target.closest("input, textarea, select, [role=slider], [role=listbox], .v-overlay")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
    if (event.key in steps) window.trame.trigger("scroll", [steps[event.key]]);
    else if (event.key === "s") window.trame.trigger("segment");
    else if (event.key === "Escape") {
      if (document.querySelector(".v-menu.v-overlay--active")) return; // closes it
      if (window.trame.state.get("has_error")) state("has_error", false);
      else window.trame.trigger("cancel");
    } else return;
    event.preventDefault();
  }

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  window.trame.utils.auview = {
    upload,
    pick: () => document.getElementById("upload").click(),
    start: () => setTimeout(() => {
      state("upload_percent", -1); // of an upload that a reload ended
      state("colours", dark.matches ? "dark" : "light");
    }),
  };
  window.addEventListener("keydown", onKey);
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    const isFolder = [...event.dataTransfer.items].some((item) => item.webkitGetAsEntry()?.isDirectory);
    if (isFolder) state("error", "Zip the folder's DICOM files, and upload the archive.");
    else upload(event.dataTransfer.files);
  });

  function sendSizes() { // all tabs show the same views, which have the size that a tab sent last
    const views = document.getElementById("views");
    if (!views) return;
    views.style.paddingRight = "1px"; // the views send their size when it changes, a moment later
    requestAnimationFrame(() => requestAnimationFrame(() => { views.style.paddingRight = ""; }));
  }
  window.addEventListener("focus", sendSizes);
  document.documentElement.addEventListener("mouseenter", sendSizes);
})();
