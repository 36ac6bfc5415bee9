// Light or dark: the system's choice until the person makes one, kept in a cookie so that the server paints it at once.
// Other windows, and both sides of the side-by-side view, follow.

const COOKIE = "roomcast_theme";

type Theme = "light" | "dark";

export function startThemeToggle(): void {
  const others = new BroadcastChannel(COOKIE);
  others.addEventListener("message", ({ data }) => paint(data === "dark" ? "dark" : "light"));
  for (const button of buttons()) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const theme: Theme = isDark() ? "light" : "dark";
      document.cookie = `${COOKIE}=${theme}; Path=/; Max-Age=31536000; SameSite=Lax`;
      others.postMessage(theme);
      paint(theme);
    });
  }
  name();
}

function buttons(): NodeListOf<HTMLButtonElement> {
  return document.querySelectorAll("[data-theme-toggle]");
}

function paint(theme: Theme): void {
  document.documentElement.dataset["theme"] = theme;
  name();
}

function isDark(): boolean {
  const chosen = document.documentElement.dataset["theme"] ?? "";
  return chosen === "" ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "dark";
}

function name(): void {
  const words = isDark() ? "Light colours" : "Dark colours";
  for (const button of buttons()) {
    button.setAttribute("aria-label", words);
    button.title = words;
  }
}
