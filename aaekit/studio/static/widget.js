// The studio in a frame of a notebook, if its browser is on the machine of the kernel.

const HERE = ["127.0.0.1", "localhost"]; // a policy for frames cannot name [::1]

/** @param {{model: {get: (name: string) => any}, el: HTMLElement}} given */
function render({ model, el }) {
  const address = new URL(model.get("address"));
  if (HERE.includes(location.hostname)) {
    address.hostname = location.hostname; // so that the frame keeps its cookie
    const frame = document.createElement("iframe");
    frame.src = address.href;
    frame.title = "aae studio";
    frame.style.cssText = `width: 100%; height: ${model.get("height")}px; border: 0; border-radius: 8px`;
    el.replaceChildren(frame);
    return;
  }
  const link = document.createElement("a");
  link.href = address.href;
  link.target = "_blank";
  link.rel = "noopener";
  link.textContent = "Open the studio";
  const note = document.createElement("p");
  note.append(link, ` on the machine of the kernel. From another machine, forward its port: ssh -L ${address.port}:127.0.0.1:${address.port} HOST`);
  el.replaceChildren(note);
}

export default { render };
