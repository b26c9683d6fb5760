// The page's own modules, named by their file.
export const load = (name) => import(new URL(`../../../../src/oyez/web/static/${name}`, import.meta.url));
