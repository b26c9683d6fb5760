// The page is made once and does not know under which address it is read: browsers do.
const address = document.getElementById("address");
const here = location.origin.replace("http", "ws") + location.pathname.replace(/\/docs$/, "");
address.textContent = address.textContent.replace(/^wss?:[/][/][^/]+/, here);

// Gives every block of code a button that copies it. The page is complete without.
for (const block of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const text = block.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block.querySelector("code"));
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  block.append(button);
}
