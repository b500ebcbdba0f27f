// The entry of the admin chunk: what the router asks for by name, so that one file holds the whole area.
export { BooksPage } from './books-page';
export { EditBookPage, NewBookPage } from './book-pages';
export { AdminOrderPage, AdminOrdersPage } from './order-pages';
export { LowStockPage, StockPage } from './stock-pages';
export { SummaryPage } from './summary-page';
