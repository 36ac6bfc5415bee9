// Light or dark: the system's choice until the person makes one, kept in a cookie so that the server paints it at once.

const COOKIE = "roomcast_theme";

export function startThemeToggle(): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-theme-toggle]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const theme = isDark() ? "light" : "dark";
      document.documentElement.dataset["theme"] = theme;
      document.cookie = `${COOKIE}=${theme}; Path=/; Max-Age=31536000; SameSite=Lax`;
      name(button);
    });
    name(button);
  }
}

function isDark(): boolean {
  const chosen = document.documentElement.dataset["theme"];
  return chosen === undefined || chosen === "" ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "dark";
}

function name(button: HTMLButtonElement): void {
  const words = isDark() ? "Light colours" : "Dark colours";
  button.setAttribute("aria-label", words);
  button.title = words;
}
