// Which of several people in one browser this page is for. Addresses keep it, so that links stay with the person.

export function withSeat(path: string, seat: string | null): string {
  return seat === null ? path : `${path}${path.includes("?") ? "&" : "?"}seat=${encodeURIComponent(seat)}`;
}

export function loginPath(seat: string | null, reason: "expired" | "out"): string {
  const next = location.pathname === "/login" ? "/" : location.pathname;
  return withSeat(`/login?next=${encodeURIComponent(next)}&why=${reason}`, seat);
}
